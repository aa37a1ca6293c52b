package spool

import (
	"encoding/base64"
	"hash/crc32"
	"strconv"
)

const (
	// Marker begins every line. The number after it is the version.
	Marker = "thaw-spool:"
	// Version is the version that this package writes and reads.
	Version = 1
	// MaxLine is the length of the longest line, its newline included. The
	// least of what the log systems of this world take in one piece is 16 KiB.
	MaxLine = 16_000
)

const (
	prefix = Marker + "1 "
	// maxHeader is what a line has besides its data, at most.
	maxHeader = len(prefix) + 8 + 1 + maxSource + 1 + 3*10 + 3 + 1
	maxSource = 32
	maxData   = MaxLine - maxHeader
	// crcSize is that of the checksum, in hexadecimal digits.
	crcSize = 8
	// maxParts and maxRecords bound what a line may claim.
	maxParts   = 4096
	maxRecords = 1 << 24
)

// checksum covers what follows it in a line.
//
// It is made when it is first needed: that takes 0.3 ms, which the start of an
// extension that never spools must not pay.
func checksum() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// encoding has no character that JSON or a shell would escape.
var encoding = base64.RawURLEncoding.Strict()

// AppendRecord appends the lines of one record to dst. Source names the writer,
// at most 32 letters and digits; it numbers its records from 0. Compressed is
// the OTLP protobuf under gzip.
func AppendRecord(dst []byte, source string, record int, compressed []byte) []byte {
	const chunk = maxData / 4 * 3
	parts := max((len(compressed)+chunk-1)/chunk, 1)
	for part := range parts {
		data := compressed[part*chunk : min((part+1)*chunk, len(compressed))]
		at := len(dst)
		dst = begin(dst, source, record)
		dst = strconv.AppendInt(dst, int64(part+1), 10)
		dst = append(dst, ':')
		dst = strconv.AppendInt(dst, int64(parts), 10)
		dst = append(dst, ' ')
		dst = encoding.AppendEncode(dst, data)
		dst = finish(dst, at)
	}
	return dst
}

// AppendEnd appends the line by which a source says how many records it wrote,
// so that the loss of its last ones shows too.
func AppendEnd(dst []byte, source string, records int) []byte {
	at := len(dst)
	dst = begin(dst, source, records)
	dst = append(dst, end...)
	return finish(dst, at)
}

const end = "end"

func begin(dst []byte, source string, number int) []byte {
	dst = append(dst, prefix...)
	dst = append(dst, "00000000 "...)
	dst = append(dst, source...)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(number), 10)
	return append(dst, ' ')
}

// finish fills in the checksum of the line that begins at dst[at].
func finish(dst []byte, at int) []byte {
	crc := dst[at+len(prefix):][:crcSize]
	sum := crc32.Checksum(dst[at+len(prefix)+crcSize+1:], checksum())
	const digits = "0123456789abcdef"
	for i := range crc {
		crc[i] = digits[sum>>(4*(crcSize-1-i))&15]
	}
	return append(dst, '\n')
}
