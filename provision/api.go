package provision

import (
	"github.com/hybridctl/hybridctl/provision/adopt"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/proof"
	"github.com/hybridctl/hybridctl/provision/ready"
	"github.com/hybridctl/hybridctl/provision/steps"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// api is an API server for every room: each asks for the few calls that it uses. *kube.Client is one.
type api interface {
	adopt.API
	kube.LeaseAPI
	proof.API
	ready.API
	steps.API
	survey.API
}
