package facts

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestScript_Rules: who is no node yet is asked which rules of others close it, where no module is loaded by asking.
func TestScript_Rules(t *testing.T) {
	const chains = "echo 'table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n\tchain output {\n\t\ttype filter hook output priority 0; policy drop;\n\t}\n}\ntable ip nat {\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}' | sed 's/\\\\n/\\n/g; s/\\\\t/\\t/g'"
	const policies = "echo '-P INPUT DROP'; echo '-P FORWARD ACCEPT'; echo '-A INPUT -m comment --comment \"-P FORWARD DROP\" -j DROP'"
	const isNFT = "[ \"$1\" != --version ] || exec echo 'iptables v1.8.11 (nf_tables)'; "
	const loads = "echo a module was loaded >&2; echo '-P FORWARD DROP'"
	const no = "echo failed >&2; exit 1"
	const symbols = "0000000000000000 T nft_do_chain_of_others\n"
	for name, c := range map[string]struct {
		files  tree
		want   []string
		unread []string // nil = everything was read
	}{
		"nft":                                  {tree{"sys/module/nf_tables/": "", "bin/nft": shellScript(chains)}, []string{"inet filter input", "ip nat forward"}, nil},
		"nft, built in":                        {tree{"sys/module/ext4/": "", "proc/sys/kernel/osrelease": "6.1\n", "lib/modules/6.1/modules.builtin": "kernel/net/netfilter/nf_tables.ko\n", "bin/nft": shellScript(chains)}, []string{"inet filter input", "ip nat forward"}, nil},
		"nft, and no list of what is built in": {tree{"sys/module/ext4/": "", "proc/kallsyms": "0000000000000000 T nft_do_chain_ipv4\n0000000000000000 T nft_do_chain\n", "bin/nft": shellScript(chains)}, []string{"inet filter input", "ip nat forward"}, nil},
		"neither list nor symbols":             {tree{"sys/module/ext4/": "", "bin/nft": shellScript(chains)}, nil, []string{"neither modules.builtin nor /proc/kallsyms tells what is built into the kernel"}},
		"an nft that is not terse":             {tree{"sys/module/nf_tables/": "", "bin/nft": shellScript("[ \"$1\" != -t ] || exit 1; " + chains)}, []string{"inet filter input", "ip nat forward"}, nil},
		"nft fails":                            {tree{"sys/module/nf_tables/": "", "bin/nft": shellScript(no)}, nil, []string{"nft failed"}},
		"no nft":                               {tree{"sys/module/nf_tables/": "", "bin/iptables": shellScript(isNFT + policies)}, []string{"iptables INPUT"}, []string{"nft is not there"}},
		"no nft, and iptables-nft":             {tree{"sys/module/nf_tables/": "", "bin/iptables-nft": shellScript(policies), "bin/iptables": shellScript(loads)}, []string{"iptables INPUT"}, []string{"nft is not there"}},
		"no nft, and the older iptables":       {tree{"sys/module/nf_tables/": "", "bin/iptables": shellScript(loads)}, nil, []string{"nft is not there"}},
		"no program":                           {tree{"sys/module/nf_tables/": "", "proc/net/ip_tables_names": "filter\n"}, nil, []string{"nft is not there", "iptables-legacy is not there"}},
		"legacy":                               {tree{"proc/kallsyms": symbols, "sys/module/ip_tables/": "", "proc/net/ip_tables_names": "filter\n", "bin/iptables": shellScript(policies)}, []string{"iptables INPUT"}, nil},
		"legacy fails":                         {tree{"proc/kallsyms": symbols, "sys/module/ip_tables/": "", "proc/net/ip_tables_names": "filter\n", "bin/iptables": shellScript(no)}, nil, []string{"iptables failed"}},
		"legacy, and iptables is nft":          {tree{"proc/kallsyms": symbols, "sys/module/ip_tables/": "", "proc/net/ip_tables_names": "filter\n", "bin/iptables": shellScript(isNFT + "echo '-P INPUT ACCEPT'")}, nil, []string{"iptables-legacy is not there"}},
		"both": {tree{"sys/module/nf_tables/": "", "proc/net/ip_tables_names": "filter\n", "bin/nft": shellScript(chains), "bin/iptables-legacy": shellScript("echo '-P INPUT ACCEPT'; echo '-P FORWARD DROP'")},
			[]string{"inet filter input", "ip nat forward", "iptables FORWARD"}, nil},
		"nothing there": {tree{"proc/kallsyms": symbols, "sys/module/ext4/": "", "bin/nft": shellScript(chains), "bin/iptables": shellScript(policies), "proc/net/ip_tables_names": ""}, nil, nil},
		"no /sys":       {tree{"bin/nft": shellScript(chains)}, nil, []string{"/sys/module is not there"}},
		"a node":        {tree{"sys/module/nf_tables/": "", "bin/nft": shellScript(chains), "etc/kubernetes/kubelet.conf": ""}, nil, []string{}},
	} {
		c.files["bin/uname"] = shellScript("echo x86_64")
		root := c.files.write(t)
		for _, shell := range available(t, shells) {
			h, err := parsed(run(t, shell, root, Ask{}))
			s := h.Surroundings
			if err != nil || !slices.Equal(s.Drops, c.want) || s.RulesRead != (c.unread == nil) || !slices.Equal(s.RulesUnread, c.unread) {
				t.Errorf("%s, %v: %q, read %t, not read %q, %v", name, shell, s.Drops, s.RulesRead, s.RulesUnread, err)
			}
		}
	}
}

// TestScript_ClosingRules: a chain that lets everything through by its policy may end with a rule that does not, also in a chain that it leads to.
func TestScript_ClosingRules(t *testing.T) {
	nft := func(rules string) string {
		return "table inet filter {\n\tset banned {\n\t\ttype ipv4_addr\n\t\telements = { 192.0.2.1,\n\t\t\t     192.0.2.2 }\n\t}\n\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n" + rules + "\t}\n}\n"
	}
	chain := func(rules string) string {
		return "\t}\n\n\tchain more {\n" + rules
	}
	const policies = "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n-N MORE\n"
	cases := map[string]struct {
		nft, iptables string
		want          string // "" = nothing is closed
	}{
		"RHEL's iptables-services": {"", "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -p icmp -j ACCEPT\n-A INPUT -i lo -j ACCEPT\n" +
			"-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT\n-A INPUT -j REJECT --reject-with icmp-host-prohibited\n-A FORWARD -j REJECT --reject-with icmp-host-prohibited\n", "iptables INPUT, iptables FORWARD"},
		"iptables, to one port alone":        {"", policies + "-A INPUT -p tcp -m tcp --dport 25 -j DROP\n", ""},
		"iptables, of one interface alone":   {"", policies + "-A FORWARD -o virbr0 -j REJECT --reject-with icmp-port-unreachable\n", ""},
		"iptables, with a comment":           {"", policies + "-A INPUT -m comment --comment \"drop \\\"all\\\" -j ACCEPT\" -j DROP\n", "iptables INPUT"},
		"iptables, with one of one word":     {"", policies + "-A INPUT -m comment --comment rest -j DROP\n", "iptables INPUT"},
		"iptables, of what leaves":           {"", policies + "-A OUTPUT -j DROP\n", ""},
		"iptables, behind one that takes":    {"", policies + "-A INPUT -j ACCEPT\n-A INPUT -j DROP\n", ""},
		"iptables, by a chain":               {"", policies + "-A INPUT -j LOG --log-prefix \"in: \"\n-A INPUT -j MORE\n-A MORE -i lo -j ACCEPT\n-A MORE -j DROP\n", "iptables INPUT"},
		"iptables, by a chain that returns":  {"", policies + "-A INPUT -j MORE\n-A MORE -j RETURN\n-A MORE -j DROP\n", ""},
		"iptables, by a chain and behind it": {"", policies + "-A INPUT -j MORE\n-A INPUT -j DROP\n-A MORE -j RETURN\n", "iptables INPUT"},
		"iptables, by a chain for some":      {"", policies + "-A INPUT -i eth1 -j MORE\n-A MORE -j DROP\n", ""},
		"iptables, a chain that nobody uses": {"", policies + "-A MORE -j DROP\n", ""},
		"iptables, round and round":          {"", policies + "-A INPUT -g MORE\n-A MORE -j MORE\n-A MORE -j MORE\n", ""},
		"iptables, drops all but takes all":  {"", "-P INPUT DROP\n-P FORWARD ACCEPT\n-A INPUT -j ACCEPT\n", ""},

		"nft, a last rule":             {nft("\t\tct state established,related accept\n\t\tiifname \"lo\" accept\n\t\ttcp dport 22 accept\n\t\treject with icmpx admin-prohibited\n"), "", "inet filter input"},
		"nft, with a counter":          {nft("\t\tcounter packets 12 bytes 840 drop\n"), "", "inet filter input"},
		"nft, with a counter's name":   {nft("\t\tcounter name \"rest of it\" drop comment \"all else\"\n"), "", "inet filter input"},
		"nft, with a log":              {nft("\t\tlog prefix \"denied: accept \" level info flags tcp sequence,options flags all counter packets 0 bytes 0 drop\n"), "", "inet filter input"},
		"nft, made by iptables":        {nft("\t\txt match \"comment\" counter packets 0 bytes 0 xt target \"REJECT\"\n"), "", "inet filter input"},
		"nft, to one port alone":       {nft("\t\ttcp dport 25 drop\n\t\tip saddr @banned drop\n"), "", ""},
		"nft, too many alone":          {nft("\t\tlimit rate over 10/second drop\n"), "", ""},
		"nft, behind one that takes":   {nft("\t\taccept\n\t\tdrop\n"), "", ""},
		"nft, by a chain":              {nft("\t\tjump more\n" + chain("\t\ttcp dport 22 accept\n\t\tdrop\n")), "", "inet filter input"},
		"nft, by a chain for some":     {nft("\t\tiifname \"eth1\" jump more\n" + chain("\t\tdrop\n")), "", ""},
		"nft, by a chain for good":     {nft("\t\tgoto more\n\t\tdrop\n" + chain("\t\ttcp dport 22 accept\n")), "", ""},
		"nft, a chain of another name": {nft("\t\ttcp dport 22 accept\n\t}\n\n\tchain output {\n\t\ttype filter hook output priority 0; policy accept;\n\t\tdrop\n"), "", ""},
		"nft, a table of its own":      {nft("\t\tjump more\n\t}\n}\ntable ip other {\n\tchain more {\n\t\tdrop\n"), "", ""},
	}
	closed := func(t *testing.T, awk []string, nft, iptables string) string {
		files := tree{"bin/uname": shellScript("echo x86_64"), "sys/module/ext4/": "", "proc/kallsyms": "", "bin/awk": shellScript("exec " + realPath(t, awk) + ` "$@"`)}
		if nft != "" {
			files["sys/module/nf_tables/"], files["nft"], files["bin/nft"] = "", nft, shellScript("cat nft")
		}
		if iptables != "" {
			files["proc/net/ip_tables_names"], files["iptables"], files["bin/iptables-legacy"] = "filter\n", iptables, shellScript("cat iptables")
		}
		h, err := parsed(run(t, available(t, shells)[0], files.write(t), Ask{}))
		if err != nil || !h.Surroundings.RulesRead {
			t.Errorf("%v: read %t (%q), %v", awk, h.Surroundings.RulesRead, h.Surroundings.RulesUnread, err)
		}
		return strings.Join(h.Surroundings.Drops, ", ")
	}
	var allNFT, allIPTables, wantNFT, wantIPTables string
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		c := cases[name]
		t.Run(name, func(t *testing.T) {
			if got := closed(t, available(t, awks)[0], c.nft, c.iptables); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
		if allNFT, allIPTables = allNFT+c.nft, allIPTables+c.iptables; c.want != "" && c.nft != "" {
			wantNFT += ", " + c.want
		} else if c.want != "" {
			wantIPTables += ", " + c.want
		}
	}
	for _, awk := range available(t, awks) { // all of them one after another
		if got, want := closed(t, awk, allNFT, allIPTables), strings.TrimPrefix(wantNFT+wantIPTables, ", "); got != want {
			t.Errorf("%v: %q, want %q", awk, got, want)
		}
	}
}
