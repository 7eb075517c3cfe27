// Package presence is the domain: who is present how, who may see what of it,
// and who must be told. It is pure: inputs and time go in, outcomes come out;
// no I/O, no clock, no goroutine, no randomness.
//
// The nouns are the RFCs' and have no synonyms here: entity, document, tuple,
// source, publication, composition, watcher, subscription, policy, decision,
// view, notice (RFC 2778, 3856, 3903, 4479, 5025, 6665).
//
// Values that leave a Presentity are never changed afterwards.
package presence
