// Package xcapdiff is the format of RFC 5874: what has changed in documents that
// XCAP keeps, by entity-tags and patches, and what selected elements and attributes are.
package xcapdiff
