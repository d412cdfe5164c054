package preflight

import (
	"cmp"
	"context"
	"errors"
)

var accessChecks = []check{
	{reachable, "the host answers; without it the other hosts go on", checkReachable, onContact},
	{"access", "hybridctl can log in to the host, trusts its key, may become root there and can run its script", checkAccess, onContact},
	{"root", "commands on the host run as root", checkRoot, onFacts},
}

// interrupted is why nothing is known of a host whose answer was no longer waited for.
const interrupted = "not tried: the run was interrupted"

func checkReachable(v view) verdict {
	switch err := v.facts.Err; {
	case errors.Is(err, context.Canceled):
		return unknown(interrupted)
	case err == errNotAsked || v.facts.Unreachable():
		return fail("%v", err).hinted("the other hosts go on without it; run the same command again when it answers")
	case err != nil:
		return pass("something answers at its address")
	case v.facts.Time.IsZero(): // when it answered is told by its clock
		return pass("answered")
	}
	return pass("answered in %v", v.facts.RoundTrip.Round(roundTripUnit))
}

func checkAccess(v view) verdict {
	switch err := v.facts.Err; {
	case err == nil && v.facts.LoginPrints != "": // files are read by what a command answers: a kubeconfig would not be one
		return fail("the login prints %q before what a command answers", v.facts.LoginPrints).hinted("%s", v.facts.Mend())
	case err == nil:
		return pass("logged in as %s", v.facts.LoginUser)
	case errors.Is(err, context.Canceled):
		return unknown(interrupted)
	case err == errNotAsked || v.facts.Unreachable():
		return unknown("not tried: the host does not answer")
	default:
		return fail("%v", err).hinted("%s", cmp.Or(v.facts.Mend(), "see user, port, jump, identityFiles, hostKey and sudoPasswordFile in the inventory"))
	}
}

func checkRoot(v view) verdict {
	if !v.facts.Root {
		return fail("commands run as %s, wanted root", v.facts.LoginUser).
			hinted("log in as root, or let %s use sudo for every command", v.facts.LoginUser)
	}
	return pass("commands run as root")
}
