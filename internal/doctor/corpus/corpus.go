// Package corpus proves the doctor: its tests make faults for real on a
// Keyturn server with a real PostgreSQL, ask the doctor, which has to name the
// fault first, mend what it names, apply the rest of its remedies, and rotate.
// docs/doctor.md has the table of what was made and what was found, which make
// doctor-corpus writes.
package corpus
