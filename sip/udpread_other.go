//go:build !linux

package sip

import (
	"net"
	"net/netip"
)

type batchReader struct{}

func newBatchReader(*net.UDPConn, int) *batchReader { return nil }

func (*batchReader) read() (int, error) { return 0, net.ErrClosed }

func (*batchReader) datagram(int) ([]byte, netip.AddrPort) { return nil, netip.AddrPort{} }
