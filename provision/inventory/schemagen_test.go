package inventory

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// generateSchema makes the JSON schema: shape, names and what is required from the types, descriptions from their comments,
// the rest from constraints.
func generateSchema(t *testing.T) []byte {
	t.Helper()
	r := &jsonschema.Reflector{ExpandedStruct: true, Anonymous: true, FieldNameTag: "yaml", Mapper: mapType}
	if err := r.AddGoComments("github.com/hybridctl/hybridctl/provision/inventory", ".", jsonschema.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	for name, comment := range r.CommentMap {
		r.CommentMap[name] = strings.Join(strings.Fields(comment), " ")
	}
	root := r.Reflect(&Cluster{})
	root.Title = "hybridctl inventory"

	for name, apply := range constraints() {
		typeName, fieldName, _ := strings.Cut(name, ".")
		s := root
		if typeName != "Cluster" {
			s = root.Definitions[typeName]
		}
		if fieldName != "" {
			property, ok := s.Properties.Get(fieldName)
			if !ok {
				t.Fatalf("a constraint names %s, which the types do not have", name)
			}
			s = property
		}
		apply(s)
	}
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

func mapType(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: durationRule.pattern.String()}
	case reflect.TypeFor[platform.Arch]():
		s := &jsonschema.Schema{Type: "string"}
		for _, arch := range platform.All() {
			for _, spelling := range platform.ProfileFor(arch).Spellings {
				s.Enum = append(s.Enum, spelling)
			}
		}
		return s
	}
	return nil
}

type constraint func(*jsonschema.Schema)

// constraints is what validation demands of single fields, by Type.field.
func constraints() map[string]constraint {
	var d Cluster
	Default(&d)
	k, ssh, timeouts := d.Spec.Kubernetes, d.Spec.SSH, d.Spec.Timeouts
	all := map[string]constraint{
		"Cluster.apiVersion": func(s *jsonschema.Schema) { s.Const = APIVersion },
		"Cluster.kind":       func(s *jsonschema.Schema) { s.Const = Kind },
		"Metadata.name":      follows(nameRule),

		"Spec.bundle":  notEmpty,
		"Spec.sources": func(s *jsonschema.Schema) { notEmpty(s.AdditionalProperties) },
		"Spec.images":  both(enum(ImagesSent, ImagesRegistry), defaults(d.Spec.Images)),

		"Registry.host":         follows(registryRule),
		"Registry.mirrors":      func(s *jsonschema.Schema) { follows(registryMirrorRule)(s.Items); s.UniqueItems = true },
		"Registry.caFile":       notEmpty,
		"Registry.username":     pattern(`^[^:]+$`),
		"Registry.passwordFile": notEmpty,
		"Registry.passwordEnv":  follows(envRule),
		"Registry.passwordCommand": func(s *jsonschema.Schema) {
			notEmpty(s.Items)
			one := uint64(1)
			s.MinItems = &one
		},

		"Spec.hosts": func(s *jsonschema.Schema) {
			one := uint64(1)
			s.MinItems = &one
			s.Contains = has("role", ControlPlane)
		},

		"Kubernetes.version":               follows(versionRule),
		"Kubernetes.endpoint":              pattern(`^[A-Za-z0-9][-A-Za-z0-9_.]*:[0-9]{1,5}$`),
		"Kubernetes.podCIDR":               both(pattern(cidrPattern), defaults(k.PodCIDR)),
		"Kubernetes.serviceCIDR":           both(pattern(cidrPattern), defaults(k.ServiceCIDR)),
		"Kubernetes.dnsDomain":             both(follows(domainRule), defaults(k.DNSDomain)),
		"Kubernetes.encryptionAlgorithm":   enum(encryptionAlgorithms...),
		"Kubernetes.kubelet":               without(ownedKubelet),
		"Kubernetes.kubeProxy":             without(ownedKubeProxy),
		"Kubernetes.ignorePreflightErrors": unique,
		"NameValue.name":                   pattern(`^[A-Za-z0-9_][^=\s]*$`),

		"Volume.name":                    follows(volumeRule),
		"Volume.hostPath":                follows(dirRule),
		"Volume.mountPath":               follows(dirRule),
		"Volume.pathType":                enum(pathTypes...),
		"ControlPlaneFile.path":          follows(fileRule),
		"ControlPlaneFile.source":        notEmpty,
		"ControlPlaneFile.secretFile":    notEmpty,
		"ControlPlaneFile.secretEnv":     follows(envRule),
		"ControlPlaneFile.secretCommand": func(s *jsonschema.Schema) { notEmpty(s.Items); one := uint64(1); s.MinItems = &one },
		"ControlPlaneFile.name": func(s *jsonschema.Schema) {
			follows(volumeRule)(s)
			longest := uint64(maxFileName)
			s.MaxLength = &longest
		},
		"ControlPlaneFile": func(s *jsonschema.Schema) {
			for _, source := range []string{"source", "secretFile", "secretEnv", "secretCommand"} {
				s.OneOf = append(s.OneOf, &jsonschema.Schema{Required: []string{source}})
			}
		},

		"CNI.backend":  both(enum(BackendVXLAN, BackendWireGuard), defaults(BackendVXLAN)),
		"CNI.provider": both(enum(CNIFlannel, CNIManifest, CNINone), defaults(d.Spec.CNI.Provider)),
		"CNI": func(s *jsonschema.Schema) {
			s.If = has("provider", CNIManifest)
			s.Then = &jsonschema.Schema{Required: []string{"path"}}
			s.Else = &jsonschema.Schema{Not: &jsonschema.Schema{Required: []string{"path"}}}
		},

		"CephClusters": func(s *jsonschema.Schema) {
			one := uint64(1)
			s.OneOf = []*jsonschema.Schema{{Ref: s.Items.Ref}, {Type: "array", Items: s.Items, MinItems: &one}}
			s.Type, s.Items = "", nil
		},
		"Ceph.fsid": follows(fsidRule),
		"Ceph.clusterID": func(s *jsonschema.Schema) {
			follows(cephNameRule)(s)
			longest := uint64(maxClusterID)
			s.MaxLength = &longest
		},
		"Ceph.monitors": func(s *jsonschema.Schema) {
			follows(monitorRule)(s.Items)
			one := uint64(1)
			s.MinItems, s.UniqueItems = &one, true
		},
		"Ceph.msMode": enum(msModes...),
		"CephRBD.imageFeatures": func(s *jsonschema.Schema) {
			enum(slices.Sorted(maps.Keys(imageFeatures))...)(s.Items)
			s.UniqueItems = true
			s.Default = defaultImageFeatures
		},
		"CephRBD.fstype":            both(enum("ext4", "xfs"), defaults("ext4")),
		"CephRBD.mounter":           both(enum(MounterKernel, MounterNBD), defaults(MounterKernel)),
		"CephRBD.mapOptions":        options,
		"CephRBD.mountOptions":      options,
		"CephFS.subvolumeGroup":     both(follows(cephNameRule), defaults(DefaultSubvolumeGroup)),
		"CephFS.fsName":             follows(cephNameRule),
		"CephFS.pool":               follows(cephNameRule),
		"CephRBD.pool":              follows(cephNameRule),
		"CephFS.mountOptions":       options,
		"CephFS.kernelMountOptions": options,
		"CephCSI.namespace":         both(follows(nameRule), defaults(DefaultCSINamespace)),
		"CephCSI.kubeletDir":        both(follows(dirRule), defaults(DefaultKubeletDir)),
		"CephCSI.driverVersion":     follows(driverRule),
		"CephCSI.tolerations":       func(s *jsonschema.Schema) { follows(taintRule)(s.Items); s.UniqueItems = true },
		"CephCSI.nodeSelector": func(s *jsonschema.Schema) {
			s.PropertyNames = &jsonschema.Schema{Pattern: labelKeyRule.pattern.String()}
			follows(labelRule)(s.AdditionalProperties)
		},

		"SSH.hostKeys":       enum(HostKeysAcceptNew, HostKeysStrict),
		"SSH.connectTimeout": defaults(ssh.ConnectTimeout),
		"SSH.commandTimeout": defaults(ssh.CommandTimeout),
		"SSH.keepAlive":      defaults(ssh.KeepAlive),
		"Timeouts.step":      defaults(timeouts.Step),
		"Timeouts.ready":     defaults(timeouts.Ready),
		"Preflight.ignore":   unique,

		"Host.name":                  follows(nameRule),
		"Host.address":               follows(addressRule),
		"OutsideHost.name":           follows(nameRule),
		"OutsideHost.address":        follows(addressRule),
		"OutsideHost.user":           follows(userRule),
		"OutsideHost.port":           func(s *jsonschema.Schema) { s.Minimum, s.Maximum = "1", "65535" },
		"Host.role":                  both(enum(string(ControlPlane), string(Worker)), defaults(Worker)),
		"Host.hostKey":               pattern(`^(SHA256:[A-Za-z0-9+/]{43}=?|(` + strings.ReplaceAll(strings.Join(hostKeyTypes, "|"), ".", `\.`) + `)\s+[A-Za-z0-9+/]+=*(\s.*)?)$`),
		"Host.managed":               defaults(true),
		"Host.nodeIP":                pattern(`^[0-9]+(\.[0-9]+){3}$`),
		"Host.ignorePreflightErrors": unique,
		"Host.labels": func(s *jsonschema.Schema) {
			s.PropertyNames = &jsonschema.Schema{Pattern: labelKeyRule.pattern.String()}
			follows(labelRule)(s.AdditionalProperties)
		},
		"Host.taints": func(s *jsonschema.Schema) { follows(taintRule)(s.Items); s.UniqueItems = true },
	}
	for _, typeName := range []string{"CephRBD", "CephFS"} {
		all[typeName+".user"] = follows(cephNameRule)
		all[typeName+".keyFile"] = notEmpty
		all[typeName+".keyEnv"] = follows(envRule)
		all[typeName+".keyCommand"] = func(s *jsonschema.Schema) { notEmpty(s.Items); one := uint64(1); s.MinItems = &one }
		all[typeName+".key"] = notEmpty
		all[typeName+".storageClass"] = follows(domainRule)
		all[typeName+".reclaimPolicy"] = both(enum(ReclaimDelete, ReclaimRetain), defaults(ReclaimDelete))
		all[typeName] = func(s *jsonschema.Schema) {
			for _, source := range []string{"keyFile", "keyEnv", "keyCommand", "key"} {
				s.OneOf = append(s.OneOf, &jsonschema.Schema{Required: []string{source}})
			}
		}
	}
	for _, name := range []string{"driver", "provisioner", "attacher", "resizer", "registrar", "snapshotter"} {
		all["CephImages."+name] = follows(imageRule)
	}
	all["CephCSI.imageMirror"] = follows(mirrorRule)
	for _, typeName := range []string{"SSH", "Host"} {
		all[typeName+".port"] = func(s *jsonschema.Schema) { s.Minimum, s.Maximum = "1", "65535" }
		all[typeName+".user"] = follows(userRule)
		all[typeName+".jump"] = notEmpty
		all[typeName+".identityFiles"] = unique
		all[typeName+".sudoPasswordFile"] = notEmpty
		all[typeName+".sudoPasswordEnv"] = follows(envRule)
		all[typeName] = func(s *jsonschema.Schema) {
			s.Not = &jsonschema.Schema{Required: []string{"sudoPasswordFile", "sudoPasswordEnv"}}
		}
	}
	return all
}

const cidrPattern = `^[0-9]+(\.[0-9]+){3}/[0-9]{1,2}$`

func pattern(p string) constraint { return func(s *jsonschema.Schema) { s.Pattern = p } }

func follows(r rule) constraint {
	return func(s *jsonschema.Schema) {
		s.Pattern = r.pattern.String()
		if r.max > 0 {
			longest := uint64(r.max)
			s.MaxLength = &longest
		}
	}
}

func enum(values ...string) constraint {
	return func(s *jsonschema.Schema) {
		for _, value := range values {
			s.Enum = append(s.Enum, value)
		}
	}
}

func defaults(value any) constraint { return func(s *jsonschema.Schema) { s.Default = value } }

func both(a, b constraint) constraint { return func(s *jsonschema.Schema) { a(s); b(s) } }

func notEmpty(s *jsonschema.Schema) {
	one := uint64(1)
	s.MinLength = &one
}

func unique(s *jsonschema.Schema) {
	notEmpty(s.Items)
	s.UniqueItems = true
}

func options(s *jsonschema.Schema) { follows(optionRule)(s.Items); s.UniqueItems = true }

// without forbids the fields that are not the user's to set.
func without(owned map[string]string) constraint {
	return func(s *jsonschema.Schema) {
		names := &jsonschema.Schema{}
		enum(slices.Sorted(maps.Keys(owned))...)(names)
		s.PropertyNames = &jsonschema.Schema{Not: names}
	}
}

// has is the schema of a mapping with that value in that field.
func has(fieldName string, value any) *jsonschema.Schema {
	s := &jsonschema.Schema{Required: []string{fieldName}, Properties: jsonschema.NewProperties()}
	s.Properties.Set(fieldName, &jsonschema.Schema{Const: value})
	return s
}
