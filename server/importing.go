package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"

	"pharos/account"
	"pharos/presence"
	"pharos/store"
)

// MaxImport bounds an import file, in bytes.
const MaxImport = 256 << 20

// importBatch accounts are committed together.
const importBatch = 200

// Import is what an import did, or would do.
type Import struct {
	Accounts int      `json:"accounts"` // new or with a new password
	Contacts int      `json:"contacts"` // roster entries (XEP-0227)
	Messages int      `json:"messages"` // stored messages (XEP-0227)
	Total    int      `json:"total"`    // accounts in the file
	Problems []string `json:"problems,omitempty"`
	DryRun   bool     `json:"dry_run,omitempty"`
	Done     bool     `json:"done"`
}

// maxProblems are listed; more are counted only.
const maxProblems = 100

// newcomer is one user of an import file: a password, or keys ready made.
type newcomer struct {
	user     presence.Entity
	typed    string // user part as written, which SIP clients may use for the digest
	password string
	keys     *store.Account // used when password is empty
	contacts []store.Item
}

// Import reads CSV lines user@domain,password or a XEP-0227 document. The file
// is checked whole first: with any problem nothing is imported. Accounts that
// exist get the new password. progress is called now and then, and may be nil.
func (a *Admin) Import(ctx context.Context, r io.Reader, dryRun bool, progress func(Import)) (Import, error) {
	if progress == nil {
		progress = func(Import) {}
	}
	b, err := io.ReadAll(io.LimitReader(r, MaxImport+1))
	if err != nil {
		return Import{}, err
	}
	if len(b) > MaxImport {
		return Import{}, fmt.Errorf("the file is larger than %d bytes; split it", MaxImport)
	}
	var (
		users    []newcomer
		problems []string
	)
	if first := bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), " \t\r\n"); bytes.HasPrefix(first, []byte("<")) {
		users, problems = a.readServerData(first)
	} else {
		users, problems = a.readCSV(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")))
	}
	im := Import{Total: len(users), Problems: problems[:min(len(problems), maxProblems)], DryRun: dryRun}
	if len(problems) > 0 {
		return im, fmt.Errorf("%d problems in the file; nothing was imported", len(problems))
	}
	if dryRun {
		im.Accounts, im.Done = len(users), true
		for _, u := range users {
			im.Contacts += len(u.contacts)
		}
		return im, nil
	}
	err = a.importAll(ctx, users, &im, progress)
	im.Done = err == nil
	return im, err
}

// readCSV reads user@domain,password lines; # begins a comment line.
func (a *Admin) readCSV(b []byte) (users []newcomer, problems []string) {
	rd := csv.NewReader(bufio.NewReader(bytes.NewReader(b)))
	rd.FieldsPerRecord, rd.Comment, rd.TrimLeadingSpace = -1, '#', true
	seen := map[presence.Entity]int{}
	for {
		rec, err := rd.Read()
		if errors.Is(err, io.EOF) {
			return users, problems
		}
		if err != nil {
			return users, append(problems, err.Error())
		}
		line, _ := rd.FieldPos(0)
		if len(rec) != 2 || rec[1] == "" {
			problems = append(problems, fmt.Sprintf("line %d: want user@domain,password", line))
			continue
		}
		u, err := a.Address(rec[0])
		if err != nil {
			problems = append(problems, fmt.Sprintf("line %d: %v", line, err))
			continue
		}
		if before, twice := seen[u]; twice {
			problems = append(problems, fmt.Sprintf("line %d: %s is in line %d already", line, u, before))
			continue
		}
		seen[u] = line
		users = append(users, newcomer{user: u, typed: typed(rec[0]), password: rec[1]})
	}
}

// importAll derives keys on all cores, which is most of the work (RFC 5802 asks
// for 4096 rounds and two hashes), and commits in batches.
func (a *Admin) importAll(ctx context.Context, users []newcomer, im *Import, progress func(Import)) error {
	for len(users) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		batch := users[:min(importBatch, len(users))]
		users = users[len(batch):]
		accounts, err := derive(ctx, batch)
		if err != nil {
			return err
		}
		if err := a.store.PutAccounts(ctx, accounts); err != nil {
			return err
		}
		for _, u := range batch {
			a.changed(u.user)
			if len(u.contacts) == 0 {
				continue
			}
			if err := a.docs.PutItems(ctx, u.user, u.contacts); err != nil {
				return fmt.Errorf("%s: roster: %w", u.user, err)
			}
			im.Contacts += len(u.contacts)
		}
		im.Accounts += len(batch)
		progress(*im)
	}
	return nil
}

func derive(ctx context.Context, batch []newcomer) ([]store.Account, error) {
	out := make([]store.Account, len(batch))
	var (
		list []account.Credentials
		at   []int // in batch
	)
	for i, n := range batch {
		if n.keys != nil {
			out[i] = *n.keys
			continue
		}
		list = append(list, account.Credentials{User: presence.Entity{User: n.typed, Domain: n.user.Domain}, Password: n.password})
		at = append(at, i)
	}
	derived, err := account.DeriveAll(ctx, list)
	if err != nil {
		return nil, err
	}
	for j, i := range at {
		out[i] = derived[j]
		out[i].User = batch[i].user
	}
	return out, nil
}
