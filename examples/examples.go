// Package examples holds rotation functions to learn from, and gives the
// demo and the tests the same files.
package examples

import "embed"

// Files holds postgres-python/lambda_function.py and
// postgres-node/index.mjs.
//
//go:embed postgres-python/lambda_function.py postgres-node/index.mjs
var Files embed.FS
