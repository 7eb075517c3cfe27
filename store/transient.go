package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

// Transient tells whether an error passes without anybody's doing: the database is away or too busy, or
// this node has just been declared dead and is coming back. Clients are asked to come again then.
func Transient(err error) bool {
	for _, e := range []error{ErrBusy, ErrFenced, ErrClosed, ErrUnknown, errContended, errLost, context.DeadlineExceeded,
		driver.ErrBadConn, sql.ErrConnDone, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, e) {
			return true
		}
	}
	var network net.Error
	var connect *pgconn.ConnectError
	if errors.As(err, &network) || errors.As(err, &connect) {
		return true
	}
	var state *pgconn.PgError
	if !errors.As(err, &state) || len(state.Code) < 2 {
		return false
	}
	switch state.Code[:2] {
	case "08", "40", "53", "57": // connection, rollback, resources, operator intervention
		return true
	}
	return false
}
