package image

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// ErrNotExecutable says that a file is not an ELF executable; it has no architecture that could be checked.
var ErrNotExecutable = errors.New("not an ELF executable")

// Binary is what the head of an ELF executable, or shared object, tells. The zero value of a field means that it does not tell.
type Binary struct {
	Machine uint16 // e_machine
	Bits    int    // 32 or 64
	Big     bool   // big-endian
	Loader  string // PT_INTERP; "" = it needs none, unless Torn
	Dynamic bool   // it has a PT_DYNAMIC
	Align   int64  // the smallest alignment of its PT_LOADs; 0 = it has none
	Torn    bool   // its program headers point to where it does not reach, or are out of all proportion: what they say is not known
}

// The kernel's own bounds (fs/binfmt_elf.c): program headers of 64 KiB, a loader's name of PATH_MAX.
const (
	maxHeaders = 64 << 10
	maxLoader  = 4096
)

// readBinary reads the head of a file and what its program headers point to, forwards. Not every ELF file is an executable: object files
// and cores are ErrNotExecutable, too.
func readBinary(f *forward) (Binary, error) {
	ident := f.at(0, elf.EI_NIDENT)
	if len(ident) < elf.EI_NIDENT || string(ident[:4]) != elf.ELFMAG {
		return Binary{}, ErrNotExecutable
	}
	b := Binary{Bits: 64, Big: elf.Data(ident[elf.EI_DATA]) == elf.ELFDATA2MSB}
	l := layout64
	switch elf.Class(ident[elf.EI_CLASS]) {
	case elf.ELFCLASS64:
	case elf.ELFCLASS32:
		b.Bits, l = 32, layout32
	default:
		return Binary{}, ErrNotExecutable
	}
	var order binary.ByteOrder = binary.LittleEndian
	if b.Big {
		order = binary.BigEndian
	}
	head := f.at(0, l.header)
	if len(head) < elfHeader {
		return Binary{}, ErrNotExecutable
	}
	if kind := elf.Type(order.Uint16(head[16:])); kind != elf.ET_EXEC && kind != elf.ET_DYN {
		return Binary{}, ErrNotExecutable
	}
	b.Machine = order.Uint16(head[18:])
	if int64(len(head)) < l.header {
		b.Torn = true
		return b, nil
	}
	b.headers(f, l, order, head)
	return b, nil
}

// elfLayout are the offsets in which the two classes of ELF differ.
type elfLayout struct {
	header                              int64 // its size
	phoff, phentsize, phnum             int
	entry                               int // size of a program header
	offset, vaddr, filesz, memsz, align int
	word                                int // bytes of an address
}

var (
	layout64 = elfLayout{header: 64, phoff: 32, phentsize: 54, phnum: 56, entry: 56, offset: 8, vaddr: 16, filesz: 32, memsz: 40, align: 48, word: 8}
	layout32 = elfLayout{header: 52, phoff: 28, phentsize: 42, phnum: 44, entry: 32, offset: 4, vaddr: 8, filesz: 16, memsz: 20, align: 28, word: 4}
)

func (l elfLayout) number(order binary.ByteOrder, b []byte) int64 {
	if l.word == 4 {
		return int64(order.Uint32(b))
	}
	return int64(order.Uint64(b)) // a negative one is refused where it is used
}

func (b *Binary) headers(f *forward, l elfLayout, order binary.ByteOrder, head []byte) {
	count, size, start := int64(order.Uint16(head[l.phnum:])), int64(order.Uint16(head[l.phentsize:])), l.number(order, head[l.phoff:])
	if count == 0 {
		return
	}
	if size != int64(l.entry) || start < 0 || count*size > maxHeaders {
		b.Torn = true
		return
	}
	table := f.at(start, count*size)
	if int64(len(table)) < count*size {
		b.Torn = true
		return
	}
	table = append([]byte{}, table...) // f uses its memory again
	for ; len(table) > 0; table = table[size:] {
		switch elf.ProgType(order.Uint32(table)) {
		case elf.PT_LOAD:
			if align := l.number(order, table[l.align:]); align > 1 && (b.Align == 0 || align < b.Align) {
				b.Align = align
			}
		case elf.PT_DYNAMIC:
			b.Dynamic = true
		case elf.PT_INTERP:
			b.loader(f, l.number(order, table[l.offset:]), l.number(order, table[l.filesz:]))
		}
	}
}

func (b *Binary) loader(f *forward, offset, size int64) {
	if offset < 0 || size < 2 || size > maxLoader {
		b.Torn = true
		return
	}
	name := f.at(offset, size)
	if int64(len(name)) < size {
		b.Torn = true
		return
	}
	b.Loader, _, _ = strings.Cut(string(name), "\x00")
	b.Torn = b.Torn || b.Loader == ""
}

// elfHeader is how many bytes tell the machine: e_ident, e_type and e_machine.
const elfHeader = 20

// Machine reads e_machine from the head of an ELF executable (or position independent executable) of a little-endian 64-bit system.
func Machine(r io.Reader) (uint16, error) {
	f := newForward(r)
	b, err := readBinary(f)
	if f.err != nil {
		return 0, f.err
	}
	return b.machine(), err
}

// machine is e_machine of those files that a supported host could run. Of 32-bit and big-endian ones none does, whatever their machine.
func (b Binary) machine() uint16 {
	if b.Bits != 64 || b.Big {
		return uint16(elf.EM_NONE)
	}
	return b.Machine
}

// Name says for people what the file is for: "arm64", "32-bit arm".
func (b Binary) Name() string {
	if b.Big && b.Machine != uint16(elf.EM_S390) {
		return "big-endian " + platform.MachineName(b.Machine, b.Bits)
	}
	return platform.MachineName(b.Machine, b.Bits)
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

// check is CheckMachine of a file that was read.
func (b Binary) check(want platform.Arch) error {
	if b.machine() == platform.ProfileFor(want).ELFMachine {
		return nil
	}
	if b.machine() == uint16(elf.EM_NONE) {
		return fmt.Errorf("is an executable for another machine (%s), not %s", b.Name(), want)
	}
	return CheckMachine(b.Machine, want)
}

// runsOn are the sizes of memory pages on which the kernel maps it: a segment has to begin at a page of its own.
func (b Binary) runsOn(pages []int64) []int64 {
	var out []int64
	for _, p := range pages {
		if b.Align == 0 || b.Align >= p {
			out = append(out, p)
		}
	}
	return out
}

// forward reads a file once from its beginning, and gives what is asked for at ascending offsets. It keeps the head, and what was read
// last.
type forward struct {
	r    io.Reader
	head []byte // the first bytes
	last []byte // what was read last; it ends at pos
	pos  int64
	err  error // why reading ended early; the file's end is no error
	size [2][]byte
}

// headSize is how much of a file is kept: an ELF header with its program headers, or a script's first line.
const headSize = 4096

func newForward(r io.Reader) *forward {
	f := &forward{size: [2][]byte{make([]byte, headSize), nil}}
	f.reset(r)
	return f
}

// reset begins another file, with the memory of the one before.
func (f *forward) reset(r io.Reader) {
	f.r, f.err, f.last = r, nil, nil
	n, err := io.ReadFull(r, f.size[0])
	f.head, f.pos = f.size[0][:n], int64(n)
	f.end(err)
}

func (f *forward) end(err error) {
	if err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
		f.err = err
	}
}

// at gives n bytes at an offset, or fewer: where the file ends, or where it was passed by already. They hold until the next call.
func (f *forward) at(offset, n int64) []byte {
	if end := offset + n; end <= int64(len(f.head)) {
		return f.head[offset:end]
	}
	if begin := f.pos - int64(len(f.last)); offset >= begin && offset+n <= f.pos {
		return f.last[offset-begin : offset-begin+n]
	}
	if offset < f.pos {
		if offset >= int64(len(f.head)) || f.pos > int64(len(f.head)) {
			return nil
		}
		return f.read(append([]byte{}, f.head[offset:]...), n) // it begins in the head and reaches beyond
	}
	skipped, err := io.CopyN(io.Discard, f.r, offset-f.pos)
	f.pos += skipped
	f.end(err)
	if err != nil {
		return nil
	}
	return f.read(nil, n)
}

func (f *forward) read(begun []byte, n int64) []byte {
	if int64(cap(f.size[1])) < n {
		f.size[1] = make([]byte, n)
	}
	f.last = f.size[1][:n]
	have := copy(f.last, begun)
	more, err := io.ReadFull(f.r, f.last[have:])
	f.pos += int64(more)
	f.last = f.last[:have+more]
	f.end(err)
	return f.last
}
