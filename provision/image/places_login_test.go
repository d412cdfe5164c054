package image

import (
	"errors"
	"strings"
	"testing"
)

// A login in the name of an image is refused, wherever names are given, and not repeated.
func TestParseName_RefusesLogins(t *testing.T) {
	for _, ref := range []string{"me:hunter2@registry.test/app:1", "https://me:hunter2@registry.test/app", "me:a@hunter2@registry.test/app"} {
		_, err := ParseName(ref)
		_, tagErr := targetTag(ref)
		for _, err := range []error{err, tagErr} {
			if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "…@registry.test/app") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v", ref, err)
			}
		}
	}
	if _, err := ParseName("registry.test/app:1@sha256:" + strings.Repeat("0", 64)); err != nil {
		t.Error(err)
	}
	if _, err := targetTag("registry.test/app:1@sha256:" + strings.Repeat("0", 64)); err == nil || !strings.Contains(err.Error(), "has a digest") {
		t.Error(err)
	}
}
