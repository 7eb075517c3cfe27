package store

import _ "github.com/anishathalye/porcupine" // contract: linearizability of documents and rows
