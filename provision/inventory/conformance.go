package inventory

func (v *validator) conformance() {
	names := seen{}
	for i, h := range v.c.Spec.Conformance.Outside {
		path := item("spec.conformance.outside", i)
		v.hostName(field(path, "name"), h.Name)
		v.once(names, field(path, "name"), h.Name, h.Name)
		if _, isNode := v.c.Host(h.Name); isNode {
			v.fail(field(path, "name"), "name a host that is not in spec.hosts", "%s is a host of the cluster, and not outside it", printable(h.Name))
		}
		v.address(field(path, "address"), Host{Address: h.Address})
		v.login(path, h.User, h.Port, nil, "", "")
	}
	const path = "spec.conformance.registry"
	r := v.c.Spec.Conformance.Registry
	if r == (PrivateRegistry{}) {
		return
	}
	if r.Image == "" {
		v.fail(path, "image: registry.example:5000/team/app:1", "has no image to pull")
	}
	if known, i := v.c.credentialsOf(r.Image); known {
		if r.Username != "" || r.PasswordFile != "" || r.PasswordEnv != "" {
			v.fail(path, "take username and password out of one of the two", "is not used for %s: %s has credentials for it, which the nodes know", printable(r.Image), item(registriesPath, i))
		}
		return
	}
	if r.Username == "" {
		v.fail(path, "check R is about credentials", "has no username")
	}
	if p := field(path, "passwordEnv"); r.PasswordEnv != "" && !envRule.ok(r.PasswordEnv) {
		// What stands here may be the password itself, so it is not repeated.
		v.fail(p, "its name without the $; the password does not belong in this file", "is not the name of an environment variable")
	}
	if (r.PasswordFile == "") == (r.PasswordEnv == "") {
		v.fail(path, "the password does not belong in this file", "needs either passwordFile or passwordEnv")
	}
}
