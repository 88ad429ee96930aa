package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/keyturn/keyturn/internal/backup"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/key/keeper"
)

// storedFlags say where a server stores, for commands that work beside it or
// without it.
type storedFlags struct {
	Data       string   `help:"Data folder of the server." default:"keyturn-data" env:"KEYTURN_DATA" type:"path"`
	Store      string   `help:"PostgreSQL of the server, as a postgres:// URL; SQLite in the data folder when empty." env:"KEYTURN_STORE" placeholder:"URL"`
	RootKey    string   `help:"Root key of the server, as serve takes it; the file root.key in the data folder when empty." env:"KEYTURN_ROOT_KEY" placeholder:"URL"`
	OldRootKey []string `help:"Root key that still opens what it wrapped; may be repeated." env:"KEYTURN_OLD_ROOT_KEY" placeholder:"URL"`
}

// keepers opens the root keys.
func (f *storedFlags) keepers(ctx context.Context) (*keeper.Set, error) {
	var first key.Keeper
	var err error
	if f.RootKey != "" {
		first, err = keeper.Open(ctx, f.RootKey, false)
	} else {
		first, err = keeper.OpenFile(f.rootKeyFile(), false)
	}
	if err != nil {
		return nil, err
	}
	var old []key.Keeper
	for _, text := range f.OldRootKey {
		k, err := keeper.Open(ctx, text, false)
		if err != nil {
			return nil, fmt.Errorf("opening an old root key: %w", err)
		}
		old = append(old, k)
	}
	return keeper.NewSet(first, old...), nil
}

func (f *storedFlags) rootKeyFile() string { return filepath.Join(f.Data, backup.RootKeyFile) }

// passphraseFlags give a passphrase.
type passphraseFlags struct {
	PassphraseFile string `help:"File whose first line is the passphrase; KEYTURN_BACKUP_PASSPHRASE may hold the passphrase instead." env:"KEYTURN_BACKUP_PASSPHRASE_FILE" placeholder:"FILE" type:"path"`
}

// passphraseVariable holds a passphrase.
const passphraseVariable = "KEYTURN_BACKUP_PASSPHRASE"

// passphrase returns the passphrase, or nil when none is given.
func (f *passphraseFlags) passphrase() ([]byte, error) {
	given := []byte(os.Getenv(passphraseVariable))
	if f.PassphraseFile != "" {
		text, err := os.ReadFile(f.PassphraseFile)
		if err != nil {
			return nil, fmt.Errorf("reading the passphrase: %w", err)
		}
		given, _, _ = bytes.Cut(text, []byte("\n"))
		if given = bytes.TrimSuffix(given, []byte("\r")); len(given) == 0 {
			return nil, fmt.Errorf("the first line of %s, which is to be the passphrase, is empty", f.PassphraseFile)
		}
	}
	if len(given) == 0 {
		return nil, nil
	}
	return given, nil
}

type backupCmd struct {
	File            string `arg:"" help:"File to write, or - for the standard output."`
	WithRootKey     bool   `help:"Put the root key into the backup; only under a passphrase."`
	WithoutTrail    bool   `help:"Leave out the data folder's trail segments, which hold the record of reads."`
	Force           bool   `help:"Replace an existing file."`
	storedFlags     `embed:""`
	passphraseFlags `embed:""`
}

// Run writes the backup.
func (c *backupCmd) Run(p *program) error {
	src, err := c.source(p.ctx)
	if err != nil {
		return err
	}
	defer clear(src.Protection.Passphrase)
	var s *backup.Summary
	write := func(to io.Writer) (err error) {
		out := bufio.NewWriterSize(to, 1<<20)
		if s, err = backup.Write(p.ctx, src, out); err != nil {
			return err
		}
		return out.Flush()
	}
	if c.File == "-" {
		err = write(p.stdout)
	} else {
		err = writeWhole(c.File, c.Force, write)
	}
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(p.stderr, "keyturn: backed up %s to %s\n", contents(s), c.File)
	c.remind(p.stderr, s)
	return nil
}

// source says what to back up, and under what.
func (c *backupCmd) source(ctx context.Context) (backup.Source, error) {
	src := backup.Source{Dir: c.Data, StoreURL: c.Store, Program: programVersion(), WithoutTrail: c.WithoutTrail}
	var err error
	if src.Protection.Passphrase, err = c.passphrase(); err != nil {
		return src, err
	}
	if src.Protection.Passphrase == nil {
		if c.WithRootKey {
			return src, errors.New("--with-root-key needs a passphrase: a backup under the root key could not be opened without it")
		}
		src.Protection.Keepers, err = c.keepers(ctx)
		return src, err
	}
	if c.WithRootKey {
		src.RootKey = c.rootKeyFile()
		if path, isFile := strings.CutPrefix(c.RootKey, "file://"); isFile {
			src.RootKey = path
		} else if c.RootKey != "" {
			return src, errors.New("--with-root-key works with a root key in a file: keep another one apart yourself")
		}
		if _, err := keeper.OpenFile(src.RootKey, false); err != nil {
			return src, err
		}
	}
	return src, nil
}

// remind says what the backup is worth nothing without.
func (c *backupCmd) remind(w io.Writer, s *backup.Summary) {
	ids := strings.Join(s.RootKeys, ", ")
	switch {
	case s.RootKey:
		_, _ = fmt.Fprintln(w, "keyturn: the backup holds the root key: whoever has it and the passphrase has every secret")
	case s.KDF != nil:
		_, _ = fmt.Fprintf(w, "keyturn: keep apart from it, and safe: the passphrase, and the root key %s; without either nothing can be restored\n", ids)
	default:
		_, _ = fmt.Fprintf(w, "keyturn: keep apart from it, and safe: the root key %s; without it nothing can be restored\n", ids)
	}
}

// contents tells in few words what a backup holds.
func contents(s *backup.Summary) string {
	var rows int64
	for _, n := range s.Rows {
		rows += n
	}
	return fmt.Sprintf("%d secrets with %d versions, %d rows in all, and %d trail files (schema %d, %s, %s)",
		s.Rows["secret"], s.Rows["version"], rows, s.Files-btoi(s.RootKey), s.Schema, s.Store, s.Made.Format("2006-01-02 15:04:05 UTC"))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// writeWhole makes write fill the file, which is there, with mode 0600 and on
// disk, when writeWhole returns nil; otherwise nothing changed.
func writeWhole(path string, force bool, write func(io.Writer) error) (err error) {
	if _, err := os.Lstat(path); !force && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%s exists: choose another name, or give --force", path), err)
	}
	temp := path + "." + strings.ToLower(rand.Text()[:8]) + ".part"
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("making the backup's file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp)
		}
	}()
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	if force {
		err = os.Rename(temp, path)
	} else if err = os.Link(temp, path); err == nil {
		err = os.Remove(temp)
	} else if !errors.Is(err, fs.ErrExist) {
		err = os.Rename(temp, path) // a file system without links
	}
	if err != nil {
		return fmt.Errorf("putting the backup in place: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// programVersion is the version that the build recorded.
func programVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return ""
}

type restoreCmd struct {
	File            string `arg:"" help:"Backup to restore, or - for the standard input."`
	Check           bool   `help:"Restore nothing; read all of the backup and tell what it holds."`
	storedFlags     `embed:""`
	passphraseFlags `embed:""`
}

// Run restores the backup, or checks it.
func (c *restoreCmd) Run(p *program) error {
	from := os.Stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return fmt.Errorf("opening the backup: %w", err)
		}
		defer f.Close()
		from = f
	}
	protection, err := c.protection(p.ctx)
	if err != nil {
		return err
	}
	defer clear(protection.Passphrase)
	if c.Check {
		s, err := backup.Check(p.ctx, protection, from)
		if err == nil {
			_, err = fmt.Fprintf(p.stdout, "%s is whole: %s; the root keys it needs: %s\n", c.File, contents(s), strings.Join(s.RootKeys, ", "))
		}
		return err
	}
	s, err := backup.Restore(p.ctx, backup.Target{Dir: c.Data, StoreURL: c.Store, Protection: protection}, from)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(p.stdout, "Restored %s into %s.\n", contents(s), c.Data)
	if protection.Keepers == nil && !s.RootKey {
		_, _ = fmt.Fprintf(p.stdout, "Start the server with the root key %s: put root.key into the folder, or give --root-key.\n", strings.Join(s.RootKeys, ", "))
	}
	_, _ = fmt.Fprintln(p.stdout, "Never run it beside the server that was backed up: both would rotate the same credentials.")
	return nil
}

// protection is what may open the backup. The root key may be missing, as a
// passphrase may do.
func (c *restoreCmd) protection(ctx context.Context) (p backup.Protection, err error) {
	if p.Passphrase, err = c.passphrase(); err != nil {
		return p, err
	}
	if _, err := os.Lstat(c.rootKeyFile()); c.RootKey == "" && errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	p.Keepers, err = c.keepers(ctx)
	return p, err
}
