package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"pharos/server"
)

type userCmd struct {
	Add      userAddCmd      `cmd:"" help:"Add a user."`
	Password userPasswordCmd `cmd:"" help:"Set a user's password."`
	List     userListCmd     `cmd:"" help:"List the users."`
	Remove   userRemoveCmd   `cmd:"" help:"Remove a user with list, rules and stored messages."`
	Import   importCmd       `cmd:"" help:"The same as 'pharos import'."`
}

// admin is what a running and a stopped server both offer.
type admin interface {
	Add(ctx context.Context, addr, password string) error
	Password(ctx context.Context, addr, password string) error
	Remove(ctx context.Context, addr string) error
	List(ctx context.Context, fn func(server.User) error) error
	Import(ctx context.Context, r io.Reader, dryRun bool, progress func(server.Import)) (server.Import, error)
}

// with runs fn against the running server, or the store of a stopped one. holding:
// a folder without a store is a mistake, and not to be given one.
func (p place) with(holding bool, fn func(admin) error) error {
	c, err := server.Dial(p.Data)
	if err == nil {
		return fn(remote{c})
	}
	if !errors.Is(err, server.ErrNotRunning) {
		return err
	}
	cfg, err := loadConfig(p.Config)
	if err != nil {
		return err
	}
	if cfg.Store.URL == "" {
		if err := p.held(holding); err != nil {
			return err
		}
	}
	a, err := server.OpenAdmin(p.Data, cfg.Store.URL, cfg.Domains)
	if err != nil {
		return err
	}
	return errors.Join(fn(a), a.Close())
}

// held looks whether there is a data folder and, with holding, a store in it.
func (p place) held(holding bool) error {
	if _, err := os.Stat(p.Data); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("no data folder %s: start the server once, or name the folder with --data", p.Data)
	} else if err != nil {
		return err
	}
	if holding {
		if _, err := os.Stat(filepath.Join(p.Data, "pharos.db")); errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s holds no users: start the server once, or name its folder with --data", p.Data)
		}
	}
	return nil
}

// remote is the running server behind its socket.
type remote struct{ c *server.Client }

func (r remote) Add(ctx context.Context, addr, password string) error {
	return r.c.Post(ctx, "/users/add", addr, password)
}
func (r remote) Password(ctx context.Context, addr, password string) error {
	return r.c.Post(ctx, "/users/password", addr, password)
}
func (r remote) Remove(ctx context.Context, addr string) error {
	return r.c.Post(ctx, "/users/remove", addr, "")
}
func (r remote) List(ctx context.Context, fn func(server.User) error) error {
	return r.c.Lines(ctx, "GET", "/users", nil, func(b json.RawMessage) error {
		var u struct {
			server.User
			Error string `json:"error"`
		}
		if err := json.Unmarshal(b, &u); err != nil {
			return err
		}
		if u.Error != "" { // in the middle
			return errors.New(u.Error)
		}
		return fn(u.User)
	})
}
func (r remote) Import(ctx context.Context, body io.Reader, dryRun bool, progress func(server.Import)) (server.Import, error) {
	var last struct {
		server.Import
		Error string `json:"error"`
	}
	err := r.c.Lines(ctx, "POST", fmt.Sprintf("/users/import?dry-run=%t", dryRun), body, func(b json.RawMessage) error {
		last.Error = ""
		if err := json.Unmarshal(b, &last); err != nil {
			return err
		}
		progress(last.Import)
		return nil
	})
	if err == nil && last.Error != "" {
		err = errors.New(last.Error)
	}
	return last.Import, err
}

// passwordFor is what both commands that set a password take.
type passwordFor struct {
	place
	Address  string `arg:"" help:"user@domain" placeholder:"USER"`
	Generate bool   `help:"Make a random password and print it."`
	JSON     bool   `help:"As JSON." name:"json"`
}

func (passwordFor) Help() string {
	return "The password is asked for on a terminal, else read as one line from standard input."
}

type userAddCmd struct{ passwordFor }

func (c *userAddCmd) Run(ctx context.Context) error {
	return c.with(false, func(a admin) error {
		return c.set("added", func(p string) error { return a.Add(ctx, c.Address, p) })
	})
}

type userPasswordCmd struct{ passwordFor }

func (c *userPasswordCmd) Help() string {
	return c.passwordFor.Help() + " XMPP sessions that are open stay so; a phone is asked with its next request."
}

func (c *userPasswordCmd) Run(ctx context.Context) error {
	return c.with(true, func(a admin) error {
		return c.set("has a new password", func(p string) error { return a.Password(ctx, c.Address, p) })
	})
}

func (c passwordFor) set(done string, set func(string) error) error {
	pw := ""
	if c.Generate {
		pw = strings.ToLower(rand.Text()[:16])
	} else {
		var err error
		if pw, err = readPassword(); err != nil {
			return err
		}
	}
	if err := set(pw); err != nil {
		return err
	}
	if c.JSON {
		out := map[string]string{"address": c.Address, "result": done}
		if c.Generate {
			out["password"] = pw
		}
		return printJSON(out)
	}
	fmt.Printf("%s %s\n", c.Address, done)
	if c.Generate {
		fmt.Printf("password: %s\n", pw)
	}
	return nil
}

func readPassword() (string, error) {
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		line, err := bufio.NewReader(io.LimitReader(os.Stdin, 4096)).ReadString('\n')
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			if err == nil || errors.Is(err, io.EOF) {
				err = errors.New("no password on standard input: give it as one line, or use --generate")
			}
			return "", err
		}
		return line, nil
	}
	fmt.Fprint(os.Stderr, "Password: ")
	one, err := term.ReadPassword(fd)
	fmt.Fprint(os.Stderr, "\nAgain: ")
	if err != nil {
		return "", err
	}
	two, err := term.ReadPassword(fd)
	fmt.Fprintln(os.Stderr)
	switch {
	case err != nil:
		return "", err
	case string(one) != string(two):
		return "", errors.New("the two are not the same; nothing was changed")
	case len(one) == 0:
		return "", errors.New("an empty password is not allowed")
	}
	return string(one), nil
}

type userListCmd struct {
	place
	JSON bool `help:"One JSON object a line." name:"json"`
}

func (c *userListCmd) Run(ctx context.Context) error {
	return c.with(true, func(a admin) error {
		enc := json.NewEncoder(os.Stdout)
		return a.List(ctx, func(u server.User) error {
			if c.JSON {
				return enc.Encode(u)
			}
			_, err := fmt.Printf("%-40s since %s\n", u.Address, u.Created)
			return err
		})
	})
}

type userRemoveCmd struct {
	place
	Address string `arg:"" help:"user@domain" placeholder:"USER"`
	JSON    bool   `help:"As JSON." name:"json"`
}

func (c *userRemoveCmd) Run(ctx context.Context) error {
	return c.with(true, func(a admin) error {
		if err := a.Remove(ctx, c.Address); err != nil {
			return err
		}
		if c.JSON {
			return printJSON(map[string]string{"address": c.Address, "result": "removed"})
		}
		fmt.Printf("%s removed\n", c.Address)
		return nil
	})
}
