// Package sigv4 verifies AWS Signature Version 4 on the server's side, and
// signs requests for the server's own links and clients.
package sigv4
