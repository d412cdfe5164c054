package facts

import (
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// parse reads the answer of the facts script, whose bytes are the document's from now on. The error is a *Lacking when
// the host could not say what it is. It is pure; the name and the clock's offset are for the caller to fill in.
func parse(data []byte) (Host, clock, error) {
	d, err := decode(data)
	if err != nil {
		return Host{}, clock{}, err
	}
	h := Host{LoginPrints: printed(data)}
	h.readIdentity(d)
	h.readHardware(d)
	h.Speed = readSpeed(d)
	h.readKernel(d)
	h.readNetwork(d)
	h.readSoftware(d)
	h.Surroundings = readSurroundings(d)
	h.Kubeadm = readKubeadm(d)
	h.Belongs = readBelonging(d)
	h.Markers, h.BadMarkers = readMarkers(d, h)
	h.Kubelet = h.installed(kubeletTool, kubeletUnit, "kubernetes")
	h.Containerd = h.installed(containerdTool, containerdUnit, "runtime")
	if lacks := d.word("without"); lacks != "" {
		return Host{}, clock{}, &Lacking{Tool: lacks, Host: h}
	}
	return h, d.clock(), nil
}

func (h *Host) readIdentity(d document) {
	h.Hostname = d.word("hostname")
	h.MachineID = d.word("machine-id")
	h.BootID = d.word("boot-id")
	h.OS = readOS(d)
	h.UnameMachine = d.word("machine")
	if arch, err := platform.Parse(h.UnameMachine); err == nil {
		h.Arch = arch
	}
	h.LoginUser = d.word("login")
	h.Root = strings.HasPrefix(d.word("self"), "Uid: 0 0 ")
	h.Systemd = d.has("systemd")
}

func readOS(d document) OS {
	values := d.settings("os", "=")
	return OS{
		ID:         unquote(values["ID"]),
		VersionID:  unquote(values["VERSION_ID"]),
		PrettyName: unquote(values["PRETTY_NAME"]),
		IDLike:     keptAll(strings.Fields(unquote(values["ID_LIKE"]))),
	}
}

// unquote takes the quotes off a value of os-release, which is written for a shell.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		s = strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\$`, `$`, "\\`", "`").Replace(s[1 : len(s)-1])
	}
	return kept(s)
}

func (h *Host) readHardware(d document) {
	h.UserlandBits = int(d.number("bits"))
	switch h.UserlandBits { // classes of the ELF header
	case 1:
		h.UserlandBits = 32
	case 2:
		h.UserlandBits = 64
	}
	h.PageSize = int(d.number("page"))
	if of, ok := strings.CutPrefix(d.word("page-of-maps"), "KernelPageSize:"); ok && h.PageSize == 0 {
		h.PageSize = int(kilobytes(strings.TrimSpace(of)))
	}
	for line := range d.lines("cpu") {
		if strings.HasPrefix(line, "processor") {
			h.CPUs++
		}
	}
	cpu := d.settings("cpu", ":")
	h.CPUModel = kept(cpu["model name"])
	if h.CPUModel == "" && cpu["CPU part"] != "" { // Arm processors have numbers only
		h.CPUModel = kept("implementer " + cpu["CPU implementer"] + " part " + cpu["CPU part"])
	}
	h.CPUFeatures = keptAll(strings.Fields(cpu["flags"] + " " + cpu["Features"]))
	memory := d.settings("memory", ":")
	h.MemoryBytes = kilobytes(memory["MemTotal"])
	h.SwapBytes = kilobytes(memory["SwapTotal"])
	h.DiskFree = readDisks(d)
}

func kilobytes(s string) int64 { return 1024 * min(number(strings.TrimSuffix(s, " kB")), 1<<50) }

// readDisks joins which path was measured for a directory with what was measured there.
func readDisks(d document) map[string]int64 {
	free := map[string]int64{}
	for line := range d.lines("disk") {
		if f := strings.SplitN(line, " ", 3); len(f) == 3 {
			blocks, size := number(f[0]), number(f[1])
			if size > 0 && blocks < 1<<62/size {
				free[f[2]] = blocks * size
			}
		}
	}
	out := map[string]int64{}
	for directory, measured := range d.pairs("directories") {
		if n, ok := free[measured]; ok {
			out[directory] = n
		}
	}
	return out
}

func (h *Host) readKernel(d document) {
	h.Kernel = d.word("kernel")
	switch {
	case d.has("cgroup2"):
		h.CgroupVersion = 2
		h.CgroupControllers = keptAll(strings.Fields(d["cgroup2"]))
	case d.has("cgroup1"):
		h.CgroupVersion = 1
	}
	h.Modules = map[string]Module{}
	for name, state := range d.pairs("modules") {
		switch m := Module(state); m {
		case ModuleLoaded, ModuleBuiltin, ModuleAvailable, ModuleMissing:
			h.Modules[name] = m
		}
	}
	h.Sysctls = map[string]string{}
	for name, value := range d.pairs("sysctls") {
		h.Sysctls[name] = kept(strings.Join(strings.Fields(value), " "))
	}
	h.Binfmt = readBinfmt(d)
}

func (h *Host) readSoftware(d document) {
	h.Tools = d.pairs("tools")
	h.IPTables = iptables(d.word("iptables"))
	h.Units = map[string]string{}
	units, states := slices.Collect(d.lines("units")), slices.Collect(d.lines("states"))
	if len(units) == len(states) { // else systemd did not answer
		for i, unit := range units {
			h.Units[kept(unit)] = kept(states[i])
		}
	}
	if d.has("images") {
		h.Images = []string{}
		for name := range d.lines("images") {
			if !strings.HasPrefix(name, "sha256:") && !strings.Contains(name, "@sha256:") { // further names of the same images
				h.Images = append(h.Images, kept(name))
			}
		}
		slices.Sort(h.Images)
	}
}

// iptables returns the back end from "iptables v1.8.9 (nf_tables)"; before 1.8 there was one only, and no word for it.
func iptables(version string) string {
	switch {
	case strings.Contains(version, "(nf_tables)"):
		return "nft"
	case strings.Contains(version, "iptables v"):
		return "legacy"
	}
	return "none"
}

// installed tells of a program. It is ours when a marker names its file, or when the step that brings it has begun and was
// interrupted: that marker names no files yet. So it is when that step's marker cannot be read.
func (h *Host) installed(tool, unit, step string) Installed {
	in := Installed{Path: h.Tools[tool], Running: h.Units[unit] == "active"}
	in.Ours = in.Path != "" && (h.Markers[step].State == markerStarted || h.BadMarker(step))
	for _, m := range h.Markers {
		for _, f := range m.Files {
			in.Ours = in.Ours || f.Path == in.Path
		}
	}
	return in
}
