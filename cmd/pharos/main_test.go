package main

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"pharos/store/postgrestest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pharos": main})
}

// The commands as operators type them: testdata/*.txt.
func TestCommands(t *testing.T) {
	var p databases
	t.Cleanup(p.close)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		// Without PostgreSQL scripts that need it are skipped, unless PHAROS_INTEROP=require.
		Condition: func(cond string) (bool, error) {
			if cond != "postgres" {
				return false, fmt.Errorf("unknown condition %s", cond)
			}
			err := p.start()
			if postgrestest.MaySkip(err) {
				return false, nil
			}
			return true, err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"postgres": p.command},
	})
}

// databases are those that the scripts ask for, all of one server.
type databases struct {
	mu     sync.Mutex
	server *postgrestest.Server
	made   int
}

func (p *databases) start() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		p.server, err = postgrestest.Start()
	}
	return err
}

// command makes an empty database and sets the variable named to its URL.
func (p *databases) command(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: postgres VARIABLE")
	}
	ts.Check(p.start())
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, p.server.URL("postgres"))
	ts.Check(err)
	defer c.Close(ctx)
	p.made++
	name := fmt.Sprintf("d%d", p.made)
	_, err = c.Exec(ctx, "CREATE DATABASE "+name)
	ts.Check(err)
	ts.Setenv(args[0], p.server.URL(name))
}

func (p *databases) close() {
	if p.server != nil {
		p.server.Close()
	}
}
