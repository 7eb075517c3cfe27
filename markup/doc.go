// Package markup is bounded, namespace-aware XML: a stream scanner that hands
// out complete elements, a tree whose nodes keep their byte spans, and append
// style writers. DTDs, and with them entity tricks, are never accepted.
package markup
