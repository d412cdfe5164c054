package preflight

import (
	"slices"
	"strings"
)

var admissionChecks = []check{
	{"admission", "the API server's admission plugins let nodes use the images that they were sent", checkAdmission, onCluster},
}

// alwaysPull is the admission plugin that has every image pulled whenever a container starts (and that the CIS benchmark recommends).
const alwaysPull = "AlwaysPullImages"

// checkAdmission looks for admission plugins that make the images useless that hybridctl sends to the hosts.
func checkAdmission(v view) verdict {
	for _, a := range v.cluster.Spec.Kubernetes.APIServer.ExtraArgs {
		if a.Name == "enable-admission-plugins" && slices.Contains(strings.Split(a.Value, ","), alwaysPull) {
			return warn("spec.kubernetes.apiServer.extraArgs enables %s: every container's image is pulled from its registry when it starts, also those that hybridctl sends to the hosts", alwaysPull).
				hinted("nodes without a way to registry.k8s.io, and to those of the pod network and of the probe, start nothing: leave " + alwaysPull + " out, or see that these registries are reached")
		}
	}
	return pass("no admission plugin has images pulled that are there")
}
