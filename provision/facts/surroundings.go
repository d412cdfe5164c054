package facts

import (
	"slices"
	"strings"
)

func readSurroundings(d document) Surroundings {
	s := Surroundings{
		Model:      d.word("model"),
		BootFiles:  keptAll(slices.Collect(d.lines("boot-files"))),
		Cmdline:    keptAll(strings.Fields(d["cmdline"])),
		SELinux:    d.word("selinux") == "1",
		Drops:      keptAll(slices.Concat(slices.Collect(d.lines("nft")), slices.Collect(d.lines("iptables-rules")))),
		CNIConfigs: keptAll(slices.Sorted(d.lines("cni-configs"))),

		Nameservers: nameservers(d, "resolv"),
		Upstreams:   nameservers(d, "resolved"),
	}
	s.RulesUnread = keptAll(slices.Collect(d.lines("rules-unread")))
	s.RulesRead = d.has("rules-unread") && len(s.RulesUnread) == 0
	s.PackageTool = d.word("package-tool")
	s.Installed = keptAll(slices.Collect(d.lines("installed")))
	s.Mounts, s.ReadOnly = mounts(d)
	s.Links = keptAll(slices.Collect(d.lines("links")))
	enabled, _ := strings.CutPrefix(d.word("ufw"), "ENABLED=")
	s.UFW = strings.EqualFold(unquote(enabled), "yes")
	var unmanaged []string
	for line := range d.lines("network-manager") {
		_, devices, _ := strings.Cut(line, "=")
		unmanaged = append(unmanaged, strings.TrimSpace(devices))
	}
	s.UnmanagedLinks = kept(strings.Join(unmanaged, ";"))
	return s
}

// nameservers returns the addresses of a resolv.conf.
func nameservers(d document, key string) []string {
	var out []string
	for line := range d.lines(key) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" {
			out = append(out, kept(f[1]))
		}
	}
	return out
}

// mounts returns where file systems are mounted, and which of them cannot be written to. Of several at one place the last is what is seen.
func mounts(d document) (all, readOnly []string) {
	for line := range d.lines("mounts") { // "/usr ro,nodev,relatime,rw": the mount's options, and those of the file system
		at, options, _ := strings.Cut(line, " ")
		at = kept(at)
		all = append(all, at)
		readOnly = slices.DeleteFunc(readOnly, func(other string) bool { return other == at })
		if slices.Contains(strings.Split(options, ","), "ro") {
			readOnly = append(readOnly, at)
		}
	}
	slices.Sort(all)
	slices.Sort(readOnly)
	return slices.Compact(all), readOnly
}
