package image_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/registry/registrytest"
)

func TestAudit_OneQuestionForEachImageAndLogin(t *testing.T) {
	s := registrytest.New(t)
	s.Username, s.Password, s.Tokens = "me", "secret", true
	s.Image(t, "team/app", "1", imagetest.Program(amd64, ""))
	key := []registry.Credential{{Username: "me", Password: "secret", From: "secret team/pull"}}
	wrong := []registry.Credential{{Username: "me", Password: "other", From: "secret team/old"}}
	app := s.Host() + "/team/app:1"
	rows, err := (&image.Asker{Registry: plain(t)}).Audit(t.Context(), []image.Wanted{
		{Image: app, Archs: []platform.Arch{amd64, arm64}, Keys: key, Place: image.Place{Object: "Deployment team/a"}},
		{Image: app, Archs: []platform.Arch{amd64}, Keys: append(slices.Clone(wrong), key...), Place: image.Place{Object: "Deployment team/b"}},
		{Image: app, Archs: []platform.Arch{amd64}, Place: image.Place{Object: "Deployment other/c"}, Why: "secret other/pull may not be read"},
		{Image: app, Archs: []platform.Arch{amd64}, Keys: key, Place: image.Place{Object: "DaemonSet team/d"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, fmt.Sprintf("%s %s %v %v", r.Arch, r.Verdict, r.Where, r.Level()))
	}
	want := []string{
		"amd64 unknown [Deployment other/c] warning",
		"amd64 yes [DaemonSet team/d Deployment team/a Deployment team/b] ",
		"arm64 no [Deployment team/a] error",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if r := rows[0]; !r.Login || !strings.Contains(r.Reason, "wants a login") || !strings.HasSuffix(r.Reason, "; secret other/pull may not be read") {
		t.Errorf("%+v", r)
	}
	if all := fmt.Sprintf("%+v %v %s", rows, key, strings.Join(s.Asked(), " ")); strings.Contains(all, "secret\"") || strings.Contains(fmt.Sprintf("%+v", key), "Password") {
		t.Error("a secret is shown")
	}
}

// fleet is a registry of n indexes of two architectures, each in a repository of its own.
func fleet(t testing.TB, n int) (*registrytest.Server, []image.Wanted) {
	s := registrytest.New(t)
	both := imagetest.Index(map[platform.Arch]v1.Image{amd64: imagetest.Program(amd64, ""), arm64: imagetest.Program(arm64, "")})
	var all []image.Wanted
	for i := range n {
		s.Index(t, fmt.Sprintf("team/app%d", i), "1", both)
		all = append(all, image.Wanted{Image: fmt.Sprintf("%s/team/app%d:1", s.Host(), i), Archs: platform.All()})
	}
	return s, all
}

func TestAudit_RequestsOfManyImages(t *testing.T) {
	s, all := fleet(t, 40)
	cache := must(image.OpenCache(t.TempDir() + "/registry.json"))
	for _, c := range []struct {
		indexOnly bool
		want      map[string]int
	}{
		{true, map[string]int{"GET": 40, "HEAD": 0}},
		{true, map[string]int{"GET": 0, "HEAD": 40}},
		{false, map[string]int{"GET": 80, "HEAD": 40}},
	} {
		s.Forget()
		rows, err := (&image.Asker{Registry: plain(t), Cache: cache, IndexOnly: c.indexOnly}).Audit(t.Context(), all)
		if err != nil || len(rows) != 80 {
			t.Fatal(len(rows), err)
		}
		for method, n := range c.want {
			if s.Count(method) != n {
				t.Errorf("%s: %d, want %d", method, s.Count(method), n)
			}
		}
	}
}

func BenchmarkAudit_200Images(b *testing.B) {
	s, all := fleet(b, 200)
	s.Before = func(http.ResponseWriter, *http.Request) bool {
		time.Sleep(20 * time.Millisecond)
		return false
	}
	for _, second := range []bool{false, true} {
		b.Run(map[bool]string{false: "first", true: "second"}[second], func(b *testing.B) {
			cache := must(image.OpenCache(b.TempDir() + "/registry.json"))
			round := func() {
				if _, err := (&image.Asker{Registry: plain(b), Cache: cache, IndexOnly: true}).Audit(b.Context(), all); err != nil {
					b.Fatal(err)
				}
			}
			if second {
				round()
			}
			runs := 0
			stop := watchMemory(b)
			s.Forget()
			for b.Loop() {
				if !second {
					cache = must(image.OpenCache(b.TempDir() + "/registry.json"))
				}
				round()
				runs++
			}
			b.ReportMetric(float64(s.Count(""))/float64(runs), "requests")
			b.ReportMetric(float64(s.Count("GET"))/float64(runs), "GETs")
			b.ReportMetric(float64(stop())/(1<<20), "MiB-peak")
		})
	}
}
