package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ImageUse is an image that an object has run, or would.
type ImageUse struct {
	Template    PodTemplate // of the object, for its constraints
	Owner       string      // "Kind/name" of what makes the object, and undoes a change of it
	Path        string      // of the image's field
	Image       string
	PullSecrets []string // names, as the pod has them
	Account     string   // its service account, whose secrets count when the pod has none of its own
	Start       *Start   // what its container starts; nil = nothing, as in an image volume
}

// Start is what a container starts, as far as its pod says so: the zero value leaves all of it to the image.
type Start struct {
	Command, Args []string
	Dir           string   // its working directory; "" = the image's
	Path          string   // its PATH; "" = the image's
	Mounts        []string // where its volumes lie
	Unknown       string   // why what it starts cannot be told from the pod alone; "" = it can
}

func startOf(c corev1.Container) *Start {
	s := &Start{Command: c.Command, Args: c.Args, Dir: c.WorkingDir}
	for _, m := range c.VolumeMounts {
		s.Mounts = append(s.Mounts, m.MountPath)
	}
	for _, e := range c.Env {
		if e.Name != "PATH" {
			continue
		}
		if s.Path = e.Value; e.ValueFrom != nil || strings.Contains(e.Value, "$(") {
			s.Path, s.Unknown = "", "its PATH does not stand in the pod"
		}
	}
	if argv := slices.Concat(c.Command, c.Args); len(argv) > 0 && strings.Contains(argv[0], "$(") {
		s.Unknown = "the name of its program has a variable: " + argv[0]
	}
	return s
}

// podSpec is an object with pods to make, whatever its kind.
type podSpec struct {
	kind, path string
	meta       metav1.ObjectMeta
	spec       corev1.PodSpec
}

// ImageUses lists the images of all namespaces: of everything that makes pods, of bare and static pods, and of pods that run images which
// no template of their namespace has, as those that an admission webhook adds, or that an operator makes. missing are the kinds that may not
// be listed: nothing is known of them.
func (c *Client) ImageUses(ctx context.Context) (uses []ImageUse, missing []string, err error) {
	all := metav1.ListOptions{}
	var specs, pods []podSpec
	lists := map[string]func(context.Context) error{
		"DaemonSets": func(ctx context.Context) error {
			l, err := c.apps.DaemonSets("").List(ctx, all)
			for _, o := range listed(l, err).Items {
				specs = append(specs, podSpec{"DaemonSet", "spec.template.spec", o.ObjectMeta, o.Spec.Template.Spec})
			}
			return err
		},
		"Deployments": func(ctx context.Context) error {
			l, err := c.apps.Deployments("").List(ctx, all)
			for _, o := range listed(l, err).Items {
				specs = append(specs, podSpec{"Deployment", "spec.template.spec", o.ObjectMeta, o.Spec.Template.Spec})
			}
			return err
		},
		"StatefulSets": func(ctx context.Context) error {
			l, err := c.apps.StatefulSets("").List(ctx, all)
			for _, o := range listed(l, err).Items {
				specs = append(specs, podSpec{"StatefulSet", "spec.template.spec", o.ObjectMeta, o.Spec.Template.Spec})
			}
			return err
		},
		"Jobs": func(ctx context.Context) error {
			l, err := c.batch.Jobs("").List(ctx, all)
			for _, o := range listed(l, err).Items {
				if controllerOf(&o) != cronJobKind && !jobEnded(o) {
					specs = append(specs, podSpec{"Job", "spec.template.spec", o.ObjectMeta, o.Spec.Template.Spec})
				}
			}
			return err
		},
		"CronJobs": func(ctx context.Context) error {
			l, err := c.batch.CronJobs("").List(ctx, all)
			for _, o := range listed(l, err).Items {
				specs = append(specs, podSpec{"CronJob", "spec.jobTemplate.spec.template.spec", o.ObjectMeta, o.Spec.JobTemplate.Spec.Template.Spec})
			}
			return err
		},
		"Pods": func(ctx context.Context) error {
			l, err := c.core.Pods("").List(ctx, all)
			for _, o := range listed(l, err).Items {
				if o.Status.Phase != corev1.PodSucceeded && o.Status.Phase != corev1.PodFailed {
					pods = append(pods, podSpec{"Pod", "spec", o.ObjectMeta, o.Spec})
				}
			}
			return err
		},
	}
	for _, kind := range []string{"DaemonSets", "Deployments", "StatefulSets", "Jobs", "CronJobs", "Pods"} {
		held := [2][]podSpec{specs, pods}
		err := c.do(ctx, "list the "+kind, func(ctx context.Context) error {
			specs, pods = held[0], held[1] // it may be tried again
			return lists[kind](ctx)
		})
		if errors.Is(err, ErrForbidden) {
			missing = append(missing, fmt.Sprintf("%s may not be listed: %v", kind, err))
			continue
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return usesOf(specs, pods), missing, nil
}

// listed is an empty list where there is none.
func listed[T any](l *T, err error) *T {
	if err != nil || l == nil {
		return new(T)
	}
	return l
}

// usesOf puts the images of templates and of pods together.
func usesOf(specs, pods []podSpec) []ImageUse {
	var out []ImageUse
	known := map[string]bool{}
	for _, s := range specs {
		for _, u := range s.uses() {
			known[s.meta.Namespace+"\x00"+u.Image] = true
			out = append(out, u)
		}
	}
	for _, p := range pods {
		owner := controllerOf(&p.meta)
		alone := owner == (schema.GroupKind{}) || owner == (schema.GroupKind{Kind: "Node"})
		for _, u := range p.uses() {
			id := p.meta.Namespace + "\x00" + u.Image
			if !alone && known[id] {
				continue
			}
			known[id] = known[id] || !alone // the same of one set's pods stands once
			out = append(out, u)
		}
	}
	return out
}

func (s podSpec) uses() []ImageUse {
	t := templateOf(s.kind, s.meta, s.spec)
	if s.kind == "DaemonSet" {
		t.Daemon = true
		for _, added := range daemonTolerations(s.spec.HostNetwork) {
			t.Tolerations = append(t.Tolerations, tolerationOf(added))
		}
	}
	if s.kind == "Pod" {
		t.Required = unpinned(t.Required)
	}
	one := ImageUse{Template: t, Account: s.spec.ServiceAccountName}
	if owner := metav1.GetControllerOf(&s.meta); owner != nil {
		one.Owner = owner.Kind + "/" + owner.Name
	}
	for _, r := range s.spec.ImagePullSecrets {
		if r.Name != "" && !slices.Contains(one.PullSecrets, r.Name) {
			one.PullSecrets = append(one.PullSecrets, r.Name)
		}
	}
	var out []ImageUse
	add := func(path, image string, start *Start) {
		if image == "" {
			return
		}
		u := one
		u.Path, u.Image, u.Start = s.path+"."+path, image, start
		out = append(out, u)
	}
	for i, c := range s.spec.InitContainers {
		add(fmt.Sprintf("initContainers[%d].image", i), c.Image, startOf(c))
	}
	for i, c := range s.spec.Containers {
		add(fmt.Sprintf("containers[%d].image", i), c.Image, startOf(c))
	}
	for i, c := range s.spec.EphemeralContainers {
		add(fmt.Sprintf("ephemeralContainers[%d].image", i), c.Image, startOf(corev1.Container(c.EphemeralContainerCommon)))
	}
	for i, v := range s.spec.Volumes {
		if v.Image != nil {
			add(fmt.Sprintf("volumes[%d].image.reference", i), v.Image.Reference, nil)
		}
	}
	return out
}

// PullSecret is the content of a secret for registries, as .dockerconfigjson or the older .dockercfg has it.
func (c *Client) PullSecret(ctx context.Context, namespace, name string) (content []byte, err error) {
	err = c.do(ctx, "read the secret "+namespace+"/"+name, func(ctx context.Context) error {
		s, err := c.core.Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if content = s.Data[corev1.DockerConfigJsonKey]; content == nil {
			content = s.Data[corev1.DockerConfigKey]
		}
		return nil
	})
	if err == nil && content == nil {
		err = fmt.Errorf("the secret %s/%s is none for registries", namespace, name)
	}
	return content, err
}

// AccountSecrets are the names of the pull secrets of a service account; "" = the one that pods have without one.
func (c *Client) AccountSecrets(ctx context.Context, namespace, account string) (names []string, err error) {
	if account == "" {
		account = "default"
	}
	err = c.do(ctx, "read the service account "+namespace+"/"+account, func(ctx context.Context) error {
		a, err := c.core.ServiceAccounts(namespace).Get(ctx, account, metav1.GetOptions{})
		if err != nil {
			return err
		}
		names = nil
		for _, r := range a.ImagePullSecrets {
			names = append(names, r.Name)
		}
		return nil
	})
	return names, err
}
