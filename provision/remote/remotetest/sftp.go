package remotetest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

func (h *Host) serveSFTP(channel ssh.Channel) {
	f := files{h, h.files()}
	server := sftp.NewRequestServer(channel, sftp.Handlers{FileGet: f, FilePut: f, FileCmd: f, FileList: f})
	server.Serve() // ends with the session
	server.Close()
	channel.Close()
}

// files serves a host's directory over SFTP. Directories of new files are made on the way: the commands that would have made
// them are usually answered, not run.
type files struct {
	host *Host
	root *os.Root
}

func inside(p string) string {
	if p = strings.TrimPrefix(path.Clean("/"+p), "/"); p != "" {
		return p
	}
	return "."
}

// Fileread opens a file for reading.
func (f files) Fileread(r *sftp.Request) (io.ReaderAt, error) { return f.root.Open(inside(r.Filepath)) }

// Filewrite opens a file for writing.
func (f files) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	flags := os.O_RDWR
	if p := r.Pflags(); p.Creat {
		flags |= os.O_CREATE
		if err := f.root.MkdirAll(path.Dir(inside(r.Filepath)), 0o755); err != nil {
			return nil, err
		}
		if p.Trunc {
			flags |= os.O_TRUNC
		}
	}
	file, err := f.root.OpenFile(inside(r.Filepath), flags, 0o644)
	if err != nil {
		return nil, err
	}
	return &limitedFile{file, f.host}, nil
}

// Filecmd changes files.
func (f files) Filecmd(r *sftp.Request) error {
	name := inside(r.Filepath)
	switch r.Method {
	case "Setstat":
		return f.setstat(name, r)
	case "Rename", "PosixRename":
		return f.root.Rename(name, inside(r.Target))
	case "Rmdir", "Remove":
		return f.root.Remove(name)
	case "Mkdir":
		return f.root.Mkdir(name, 0o755)
	case "Symlink":
		return f.root.Symlink(r.Target, name)
	}
	return sftp.ErrSSHFxOpUnsupported
}

func (f files) setstat(name string, r *sftp.Request) error {
	if r.AttrFlags().Size {
		file, err := f.root.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(file.Truncate(int64(r.Attributes().Size)), file.Close()); err != nil {
			return err
		}
	}
	if r.AttrFlags().Permissions {
		return f.root.Chmod(name, r.Attributes().FileMode().Perm())
	}
	return nil
}

// PosixRename replaces the target.
func (f files) PosixRename(r *sftp.Request) error { return f.Filecmd(r) }

// Filelist lists and looks.
func (f files) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	name := inside(r.Filepath)
	switch r.Method {
	case "Stat":
		info, err := f.root.Stat(name)
		return infos{info}, err
	case "List":
		entries, err := fs.ReadDir(f.root.FS(), name)
		if err != nil {
			return nil, err
		}
		var list infos
		for _, e := range entries {
			if info, err := e.Info(); err == nil {
				list = append(list, info)
			}
		}
		return list, nil
	}
	return nil, sftp.ErrSSHFxOpUnsupported
}

// StatVFS tells how much room FreeSpace left.
func (f files) StatVFS(*sftp.Request) (*sftp.StatVFS, error) {
	const block = 1
	free := uint64(1 << 40)
	if left := f.host.faults.free.Load(); left >= 0 {
		free = uint64(left)
	}
	return &sftp.StatVFS{Bsize: block, Frsize: block, Blocks: 1 << 41, Bfree: free, Bavail: free, Namemax: 255}, nil
}

type infos []os.FileInfo

func (l infos) ListAt(to []os.FileInfo, at int64) (int, error) {
	if at >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(to, l[at:])
	if n < len(to) {
		return n, io.EOF
	}
	return n, nil
}

// limitedFile fails when the host has no space left.
type limitedFile struct {
	*os.File
	host *Host
}

func (f *limitedFile) WriteAt(p []byte, at int64) (int, error) {
	free := &f.host.faults.free
	for {
		left := free.Load()
		if left < 0 {
			return f.File.WriteAt(p, at)
		}
		if left < int64(len(p)) {
			return 0, errors.New("Failure") // all that SFTP says of ENOSPC
		}
		if free.CompareAndSwap(left, left-int64(len(p))) {
			return f.File.WriteAt(p, at)
		}
	}
}
