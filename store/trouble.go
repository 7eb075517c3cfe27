package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// Trouble is an error of PostgreSQL in words for who runs it: what is wrong, and what to do. It
// wraps err. An error that is none of the database's comes back as it is.
func Trouble(err error) error {
	if err == nil {
		return nil
	}
	var done trouble
	if errors.As(err, &done) {
		return err
	}
	if text := troubleText(err); text != "" {
		return trouble{text, err}
	}
	return err
}

type trouble struct {
	text string
	err  error
}

func (t trouble) Error() string { return t.text }
func (t trouble) Unwrap() error { return t.err }

// ErrURL: the URL of a database is not one of PostgreSQL.
var ErrURL = errors.New("the URL of the database has to be as postgres://user:password@host/database")

// CheckURL is ErrURL for what is no URL of PostgreSQL. What is wrong with it is not shown: it may hold a password.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || strings.Trim(u.Path, "/") == "" {
		return ErrURL
	}
	return nil
}

// troubleText is "" for what is not of the database.
func troubleText(err error) string {
	where := "PostgreSQL"
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) && connect.Config != nil {
		where = "PostgreSQL at " + placeOf(connect.Config)
	}
	var said *pgconn.PgError
	if errors.As(err, &said) {
		return saidText(where, said, connect)
	}
	var name *net.DNSError
	var network net.Error
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return fmt.Sprintf("the database's host %s is not known: see the URL of the database, and the DNS", name.Name)
	case errors.As(err, &name):
		return fmt.Sprintf("the database's host %s cannot be looked up: see the DNS (%s)", name.Name, name.Err)
	case errors.Is(err, syscall.ECONNREFUSED), connect != nil && errors.Is(err, os.ErrNotExist): // the latter of its socket
		return where + " does not answer: nothing listens there. Start it, or correct the URL of the database"
	case connect != nil && errors.Is(err, os.ErrPermission):
		return where + " cannot be reached: no permission for its socket"
	case connect != nil && strings.Contains(err.Error(), "tls error"):
		return fmt.Sprintf("%s cannot be reached over TLS: see sslmode in the URL of the database (%s)", where, lastLine(connect.Unwrap()))
	case connect != nil && errors.Is(err, context.Canceled):
		return ""
	case errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err), connect != nil && errors.As(err, &network) && network.Timeout():
		return where + " does not answer in time: see whether it runs, and the network and firewalls in between"
	case connect != nil:
		return fmt.Sprintf("%s cannot be reached: %s", where, lastLine(connect.Unwrap()))
	case errors.Is(err, errLost), errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone):
		return "the connection to the database was lost: see whether PostgreSQL runs, and try again"
	case errors.Is(err, ErrUnknown):
		return "the connection to the database was lost in the middle: whether it was done is not known; look, and try again"
	}
	return ""
}

// saidText is about what PostgreSQL itself has answered.
func saidText(where string, said *pgconn.PgError, connect *pgconn.ConnectError) string {
	switch said.Code {
	case "28P01", "28000": // invalid_password, invalid_authorization_specification
		user := "the user"
		if connect != nil && connect.Config != nil {
			user = fmt.Sprintf("the user %q", connect.Config.User)
		}
		return fmt.Sprintf("%s does not let %s in: see user and password in the URL of the database, and pg_hba.conf (%s)", where, user, said.Message)
	case "3D000": // invalid_catalog_name
		name := "NAME"
		if connect != nil && connect.Config != nil {
			name = connect.Config.Database
		}
		return fmt.Sprintf("%s has no database %q: make it with CREATE DATABASE %s ENCODING 'UTF8' TEMPLATE template0, or correct the URL", where, name, name)
	case "42501": // insufficient_privilege
		return fmt.Sprintf("%s does not allow it: make the user the owner of the database (%s)", where, said.Message)
	case "53300": // too_many_connections
		return where + " takes no more connections: raise max_connections, of which each server needs up to 20"
	case "53100": // disk_full
		return where + " has no room on its disk: make some"
	case "25006": // read_only_sql_transaction
		return where + " is read only, as a replica is: name the primary in the URL of the database, or several hosts and target_session_attrs=read-write"
	case "57014": // query_canceled, by statement_timeout
		return fmt.Sprintf("%s was too slow (%s): see what else it does", where, said.Message)
	case "57P01", "57P02", "57P03": // admin_shutdown, crash_shutdown, cannot_connect_now
		return fmt.Sprintf("%s stops, or starts: try again when it runs (%s)", where, said.Message)
	}
	if connect != nil {
		return fmt.Sprintf("%s cannot be reached: %s", where, said.Message)
	}
	return ""
}

// placeOf is where a database is, without names and passwords.
func placeOf(c *pgconn.Config) string {
	if strings.HasPrefix(c.Host, "/") {
		return filepath.Join(c.Host, fmt.Sprintf(".s.PGSQL.%d", c.Port))
	}
	return net.JoinHostPort(c.Host, fmt.Sprint(c.Port))
}

// lastLine is the end of an error that lists several tries.
func lastLine(err error) string {
	if err == nil {
		return "no reason was given"
	}
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
