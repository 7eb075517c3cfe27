// Package loaddoc is the codec of the extended presence document of the load
// control: PIDF with the children of urn:pharos:load-control:1, whole and as
// changes of it.
package loaddoc
