// Package spool writes OTLP that could not be delivered into a function's log,
// and reads it back.
//
// A record is one OTLP request body, compressed and cut into lines that every
// log system takes:
//
//	thaw-spool:1 <crc> <source> <record> <part>:<parts> <data>
//	thaw-spool:1 <crc> <source> <records> end
//
// docs/spool.md is the specification; its example is tested. The extension
// writes such lines with [AppendRecord] and [AppendEnd], `thaw import` and the
// forwarder read them with a [Decoder].
//
// The decoder expects the worst of a log: lines in any order, twice, cut off,
// written into one another, with whatever a tool puts before them, or inside a
// JSON document. What it cannot put together it reports, and never guesses: a
// record comes back byte for byte, or is listed as missing.
//
// The package links into the extension and so depends on the standard library
// alone.
package spool
