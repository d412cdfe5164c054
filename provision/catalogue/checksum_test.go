package catalogue

import (
	"strings"
	"testing"
)

var (
	one   = strings.Repeat("1a", 32)
	other = strings.Repeat("2b", 32)
)

// The five forms that upstream publishes, and what is none of them.
var checksums = []struct {
	name, text string
	sum, err   string
}{
	{"a bare sum without a line's end", one, one, ""},
	{"a bare sum in a line", one + "\n", one, ""},
	{"a sum with the file's name", one + "  f.tgz\n", one, ""},
	{"several files", other + "  g.tgz\n" + one + "  f.tgz\n", one, ""},
	{"signed", "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n" + other + " *g.tgz\n" + one + " *f.tgz\n-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n", one, ""},

	{"a name with a dot before it, capital letters, other line ends", strings.ToUpper(one) + "  ./f.tgz\r\n", one, ""},
	{"the same sum twice", one + "  f.tgz\n" + one + "  f.tgz\n", one, ""},
	{"two sums", one + "  f.tgz\n" + other + "  f.tgz\n", "", "names f.tgz twice, with different sums"},
	{"another file alone", one + "  g.tgz\n", "", "holds no sha256 of f.tgz"},
	{"a name that ends alike", one + "  old/f.tgz\n" + one + "  xf.tgz\n", "", "holds no sha256 of f.tgz"},
	{"a sha512", one + one, "", "holds no sha256 of f.tgz"},
	{"several bare sums", one + "\n" + other + "\n", "", "holds no sha256 of f.tgz"},
	{"a page", "<!DOCTYPE html>\n<html>" + one + "</html>", "", "is a page and no list of checksums"},
	{"nothing", " \n", "", "is empty"},
}

func TestChecksum(t *testing.T) {
	for _, test := range checksums {
		t.Run(test.name, func(t *testing.T) {
			sum, err := Checksum([]byte(test.text), "f.tgz")
			if said := text(err); sum != test.sum || said != test.err {
				t.Errorf("%q, %q; want %q, %q", sum, said, test.sum, test.err)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func FuzzChecksum(f *testing.F) {
	for _, seed := range checksums {
		f.Add([]byte(seed.text), "f.tgz")
	}
	f.Fuzz(func(t *testing.T, raw []byte, name string) {
		sum, err := Checksum(raw, name)
		if err == nil && !hexDigest.MatchString(sum) || err != nil && sum != "" {
			t.Errorf("%q, %v", sum, err)
		}
		if err == nil && !strings.Contains(strings.ToLower(string(raw)), sum) {
			t.Errorf("%s stands nowhere in it", sum)
		}
	})
}
