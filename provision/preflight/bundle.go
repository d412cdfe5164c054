package preflight

import (
	"cmp"
	"strings"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
)

var bundleChecks = []check{
	{"bundle-version", "the bundle holds the Kubernetes version that the inventory asks for", checkBundleVersion, onCluster},
	{"bundle-arch", "the bundle holds every binary and image for the host's architecture", checkBundleArch, onFacts},
	{"sources", "every entry of spec.sources fits something that the catalogue names", checkSources, onSources},
}

func checkBundleVersion(v view) verdict {
	want, is := v.cluster.Spec.Kubernetes.Version, v.bundle.Manifest.KubernetesVersion
	switch {
	case v.fetch.Err != nil:
		return fail("the inventory names no bundle, and %v", v.fetch.Err).hinted("%s", hint.Text(v.fetch.Err))
	case v.fetch.Own != nil:
		return fail("%v", v.fetch.Own).hinted("%s", hint.Text(v.fetch.Own))
	case v.fetch.Missing != "":
		return pass("Kubernetes %s of the catalogue: %s would be fetched", is, v.fetch.Missing)
	case v.fetch.Set:
		return pass("Kubernetes %s of the catalogue, which is in the cache", is)
	case v.unread:
		return unknown(unreadBundle)
	}
	if want != is {
		return fail("the inventory asks for Kubernetes %s, the bundle has %s", want, cmp.Or(is, "none")).
			hinted("set spec.kubernetes.version to the bundle's, or make a bundle of %s (hybridctl bundle fetch, hybridctl bundle create)", want)
	}
	return pass("Kubernetes %s", is)
}

// checkSources warns of prefixes that change nothing. That is no error, as another catalogue may have what they are for.
func checkSources(v view) verdict {
	if len(v.fetch.Idle) > 0 {
		return warn("%s", strings.Join(v.fetch.Idle, "; ")).hinted("correct spec.sources: hybridctl bundle catalogue --kubernetes %s shows every address", v.cluster.Spec.Kubernetes.Version)
	}
	return pass("each fits something that the catalogue names")
}

const unreadBundle = "not tried: the run ended before the bundle was looked at"

// noBundle is why what is in the bundle cannot be judged; "" = it can.
func (v view) noBundle() string {
	switch {
	case v.fetch.Err != nil:
		return "not judged: there is neither a bundle nor a set of the catalogue"
	case v.unread:
		return unreadBundle
	}
	return ""
}

func checkBundleArch(v view) verdict {
	if v.facts.Arch == "" {
		return unknown("not judged: the architecture is not supported")
	}
	if why := v.noBundle(); why != "" {
		return unknown("%s", why)
	}
	var network []string
	if v.cluster.Spec.CNI.Provider == inventory.CNIFlannel {
		network = []string{bundle.Flannel, bundle.FlannelCNIPlugin}
	}
	lacks := v.bundle.Missing(v.bundle.Manifest.KubernetesVersion, []platform.Arch{v.facts.Arch}, network...)
	if len(lacks) > 0 {
		return fail("the bundle lacks %s", list(lacks)).
			hinted("hybridctl bundle list shows what it has; create it again with %s among its sources", v.facts.Arch)
	}
	return pass("the bundle has everything for %s", v.facts.Arch)
}
