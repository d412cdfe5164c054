package provision

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

// audited is a scale-out by an Arm host whose cluster has a DaemonSet of this image.
func audited(t *testing.T, mode AuditMode, image string, change func(*sim, *kube.PodTemplate)) (*sim, Result, error) {
	t.Helper()
	s := grown(t, 4, 3)
	s.api.SetArch("host-1", "amd64")
	s.api.SetArch("host-2", "arm64")
	s.api.Seen.Ran = map[string][]string{"registry.example/x86:1": {"host-2"}, "silent.example/on-arm:1": {"host-1", "host-2"}, "silent.example/on-x86:1": {"host-1"}}
	daemon := kube.PodTemplate{Kind: "DaemonSet", Namespace: "kube-system", Name: "agent", Daemon: true, Images: []string{image}}
	if change != nil {
		change(s, &daemon)
	}
	s.api.Templates = []kube.PodTemplate{daemon}
	r, err := s.scaleOut(func(o *ScaleOutOptions) {
		o.Audit = mode
		o.hooks.askRegistry = func(_ context.Context, name string) ([]platform.Arch, error) {
			switch name {
			case "registry.example/x86:1", "registry.test/etcd:3.6.8-0", "registry.test/kube-proxy:v1.36.3":
				return []platform.Arch{platform.AMD64}, nil
			case "registry.example/both:1":
				return platform.All(), nil
			}
			return nil, errors.New("no such registry")
		}
	})
	return s, r, err
}

func TestAudit(t *testing.T) {
	x86 := map[string]string{"kubernetes.io/arch": "amd64"}
	for name, c := range map[string]struct {
		mode   AuditMode
		image  string
		change func(*sim, *kube.PodTemplate)
		status report.Status // "" = nothing to say
		text   string
	}{
		"the registry lacks it, and a node runs it": {AuditBlock, "registry.example/x86:1", nil, report.Fail, "DaemonSet kube-system/agent: the image registry.example/x86:1 is not made for linux/arm64"},
		"warned of":                           {AuditWarn, "registry.example/x86:1", nil, report.Warn, "is not made for linux/arm64"},
		"not audited":                         {AuditOff, "registry.example/x86:1", nil, "", ""},
		"the registry says that it has it":    {AuditBlock, "registry.example/both:1", nil, "", ""},
		"a node of that architecture runs it": {AuditBlock, "silent.example/on-arm:1", nil, "", ""},
		"only a node of another runs it":      {AuditBlock, "silent.example/on-x86:1", nil, report.Warn, "is not known: no such registry"},
		"the bundle brings it":                {AuditBlock, "registry.test/kube-proxy:v1.36.3", nil, "", ""},
		"nobody knows":                        {AuditBlock, "nowhere.example/x:1", nil, report.Warn, "is not known"},
		"kept off by a nodeSelector":          {AuditBlock, "registry.example/x86:1", func(_ *sim, d *kube.PodTemplate) { d.Selector = x86 }, "", ""},
		"kept off by the host's taint": {AuditBlock, "registry.example/x86:1", func(s *sim, _ *kube.PodTemplate) {
			s.c.Spec.Hosts[3].Taints = []string{"arm=only:NoSchedule"}
		}, "", ""},
		"a worker is not brought it, and the registry lacks it": {AuditBlock, "registry.test/etcd:3.6.8-0", nil, report.Fail, "is not made for linux/arm64"},
		"of a custom resource": {AuditBlock, "registry.example/both:1", func(s *sim, _ *kube.PodTemplate) {
			s.api.Seen.Templates = []kube.PodTemplate{{Kind: "Broker.kafka.example", Namespace: "team", Name: "main", Images: []string{"registry.example/x86:1"}}}
		}, report.Warn, "Broker.kafka.example team/main: the image registry.example/x86:1 is not made for"},
		"the bundle has it, and the registry is silent": {AuditBlock, "registry.test/kube-scheduler:v1.36.3", nil, "", ""},
		"a Deployment does not stop it":                 {AuditBlock, "registry.example/x86:1", func(_ *sim, d *kube.PodTemplate) { d.Daemon = false }, report.Warn, "is not made for"},
	} {
		t.Run(name, func(t *testing.T) {
			s, r, err := audited(t, c.mode, c.image, c.change)
			if stops := c.status == report.Fail; errors.Is(err, ErrPreflight) != stops || !stops && err != nil {
				t.Fatalf("error %v", err)
			} else if stops && (s.changed() != 0 || len(s.api.AllNodes) != 3) {
				t.Error("something was written")
			}
			var found []report.Check
			for _, k := range r.Checks {
				if k.Name == "images" {
					found = append(found, k)
				}
			}
			switch {
			case c.status == "" && len(found) > 0:
				t.Errorf("found %+v", found)
			case c.status != "" && (len(found) != 1 || found[0].Status != c.status || !strings.Contains(found[0].Message, c.text)):
				t.Errorf("found %+v, want %s: %s", found, c.status, c.text)
			}
		})
	}
}

// A pod's image names a host: it is asked when the user names it, and else not.
func TestAudit_WhoIsAsked(t *testing.T) {
	for name, asked := range map[string]bool{"named": true, "not named": false} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var rung atomic.Int32
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					rung.Add(1)
					c.Close()
				}
			}()
			s := grown(t, 4, 3)
			s.api.Templates = []kube.PodTemplate{{Kind: "DaemonSet", Name: "agent", Daemon: true, Images: []string{l.Addr().String() + "/team/app:1"}}}
			r, err := s.scaleOut(func(o *ScaleOutOptions) {
				if o.Audit = AuditBlock; asked {
					o.AuditRegistries = []string{l.Addr().String()}
				}
			})
			if err != nil || rung.Load() > 0 != asked {
				t.Errorf("asked %d times: %v", rung.Load(), err)
			}
			said := ""
			for _, c := range r.Checks {
				said += c.Message
			}
			if strings.Contains(said, "was not asked") == asked {
				t.Errorf("%+v", r.Checks)
			}
		})
	}
}

func TestAudit_ASilentRegistryKeepsNoOtherWaiting(t *testing.T) {
	s := grown(t, 4, 3)
	for i := range 40 {
		s.api.Templates = append(s.api.Templates, kube.PodTemplate{Kind: "Deployment", Name: fmt.Sprint("d", i), Images: []string{fmt.Sprintf("a.silent.example/x%d:1", i)}})
	}
	s.api.Templates = append(s.api.Templates, kube.PodTemplate{Kind: "DaemonSet", Name: "agent", Daemon: true, Images: []string{"registry.example/x86:1"}})
	r, err := s.scaleOut(func(o *ScaleOutOptions) {
		o.Audit, o.hooks.registryPatience = AuditBlock, 200*time.Millisecond
		o.hooks.askRegistry = func(ctx context.Context, name string) ([]platform.Arch, error) {
			if strings.HasPrefix(name, "a.silent.example/") {
				<-ctx.Done()
			}
			return []platform.Arch{platform.AMD64}, ctx.Err()
		}
	})
	if !errors.Is(err, ErrPreflight) {
		t.Errorf("error %v", err)
	}
	told := 0
	for _, c := range r.Checks {
		if strings.Contains(c.Message, "a.silent.example told nothing of it within the 200ms that registries have for all images") {
			told++
		}
	}
	if told != 40 {
		t.Errorf("%d images are told as not known with the reason\n%+v", told, r.Checks[:2])
	}
}
