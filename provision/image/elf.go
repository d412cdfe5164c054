package image

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// ErrNotExecutable says that a file is not an ELF executable; it has no architecture that could be checked.
var ErrNotExecutable = errors.New("not an ELF executable")

// elfHeader is how many bytes tell the machine: e_ident, e_type and e_machine.
const elfHeader = 20

// Machine reads e_machine from the head of an ELF executable (or position independent executable) of a little-endian 64-bit system.
func Machine(r io.Reader) (uint16, error) {
	head := make([]byte, elfHeader)
	if _, err := io.ReadFull(r, head); err != nil {
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, ErrNotExecutable
		}
		return 0, err
	}
	return machine(head)
}

func machine(head []byte) (uint16, error) {
	if len(head) < elfHeader || string(head[:4]) != elf.ELFMAG {
		return 0, ErrNotExecutable
	}
	kind := elf.Type(binary.LittleEndian.Uint16(head[16:]))
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		kind = elf.Type(binary.BigEndian.Uint16(head[16:]))
	}
	if kind != elf.ET_EXEC && kind != elf.ET_DYN {
		return 0, ErrNotExecutable
	}
	if elf.Class(head[elf.EI_CLASS]) != elf.ELFCLASS64 || elf.Data(head[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return uint16(elf.EM_NONE), nil // 32-bit or big-endian: no host that is supported runs it, whatever its machine
	}
	return binary.LittleEndian.Uint16(head[18:]), nil
}

// CheckMachine says in a sentence's end which architecture a machine is of, when it is not the wanted one.
func CheckMachine(machine uint16, want platform.Arch) error {
	if machine == platform.ProfileFor(want).ELFMachine {
		return nil
	}
	for _, a := range platform.All() {
		if platform.ProfileFor(a).ELFMachine == machine {
			return fmt.Errorf("is an executable for %s, not %s", a, want)
		}
	}
	return fmt.Errorf("is an executable for another machine (%s), not %s", elf.Machine(machine), want)
}
