package inventory

import (
	"cmp"
	"reflect"
	"strings"

	"github.com/hybridctl/hybridctl/provision/spelling"
)

// structField is one field of the document's types, as the user writes it.
type structField struct {
	name       string
	index      int
	required   bool // no omitempty in its tag
	mayBeEmpty bool // "" says something else than nothing
}

// fieldsOf lists the fields of a struct type in the order of the source.
func fieldsOf(t reflect.Type) []structField {
	var fields []structField
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		fields = append(fields, structField{
			name:       name,
			index:      i,
			required:   !strings.Contains(options, "omitempty"),
			mayBeEmpty: t == reflect.TypeFor[NameValue]() && name == "value",
		})
	}
	return fields
}

func fieldNames(fields []structField) []string {
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
	}
	return names
}

// unknownFieldHint says what may have been meant: a field nearly so named, one so named elsewhere, or what there is.
func unknownFieldHint(name, meant string, known []string) string {
	if meant != "" {
		return "did you mean " + meant + "?"
	}
	var homes []string
	walkFields(reflect.TypeFor[Cluster](), "", func(path, fieldName string) {
		if fieldName == name {
			homes = append(homes, path)
		}
	})
	if len(homes) > 0 {
		return "it belongs to " + strings.Join(homes, " or ")
	}
	return "known here: " + strings.Join(known, ", ")
}

// FieldNames lists the names of a struct type's fields as a document writes them, in the order of the source.
func FieldNames(t reflect.Type) []string { return fieldNames(fieldsOf(t)) }

// FieldType returns the type of a struct type's field by the name that a document gives it, or nil.
func FieldType(t reflect.Type, name string) reflect.Type {
	for _, f := range fieldsOf(t) {
		if f.name == name {
			return t.Field(f.index).Type
		}
	}
	return nil
}

// Suggest returns the candidate that is nearest to what was written, or "" when none is near.
func Suggest(written string, candidates []string) string {
	return spelling.Nearest(written, candidates)
}

// walkFields calls visit for every field of the document with the path of what it stands in: spec.hosts[].
func walkFields(t reflect.Type, path string, visit func(path, name string)) {
	switch t.Kind() {
	case reflect.Slice:
		walkFields(t.Elem(), path+"[]", visit)
	case reflect.Struct:
		for _, f := range fieldsOf(t) {
			visit(cmp.Or(path, "the top"), f.name)
			walkFields(t.Field(f.index).Type, field(path, f.name), visit)
		}
	}
}
