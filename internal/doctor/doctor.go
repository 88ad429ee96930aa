// Package doctor tells why a rotation failed, and what to do.
//
// It is a client and is read-only: package gather collects Evidence through
// the AWS APIs, package probe tries the logins where that is wanted, package
// archive looks into the function's code. What is here is pure: Diagnose
// applies the rules to Evidence and returns Findings, the cause first; reports
// show them. Package remedy applies what is safe.
//
// The rules are those of AWS's troubleshooting guide for rotation and of the
// published sources of its templates; docs/doctor.md lists them. Nothing here
// ever holds the value of a secret.
package doctor
