package extension

import (
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"
)

// partialSuccess reads an ExportTraceServiceResponse: how many spans were
// rejected, and why. That of log records has the same encoding. It is read by hand because pdata's package for it brings
// gRPC, which doubles the size and the start of the extension. For the same
// reason requests are marshalled as TracesData, which has the same encoding as
// an ExportTraceServiceRequest.
//
//	message ExportTraceServiceResponse { ExportTracePartialSuccess partial_success = 1; }
//	message ExportTracePartialSuccess { int64 rejected_spans = 1; string error_message = 2; }
//
// What cannot be read says nothing: backends answer all kinds of things.
func partialSuccess(answer []byte) (rejected int64, message string) {
	fields(answer, func(number, _ uint64, data []byte) {
		if number != 1 || data == nil {
			return
		}
		fields(data, func(number, value uint64, data []byte) {
			switch {
			case number == 1 && data == nil:
				rejected = int64(value)
			case number == 2 && data != nil:
				message = string(data[:min(len(data), 256)])
			}
		})
	})
	return max(rejected, 0), message
}

// partialSuccessJSON is the same in JSON, which has 64-bit numbers as strings,
// or as numbers.
func partialSuccessJSON(answer []byte) (rejected int64, message string) {
	var res struct {
		PartialSuccess struct {
			RejectedSpans      json.RawMessage `json:"rejectedSpans"`
			RejectedLogRecords json.RawMessage `json:"rejectedLogRecords"`
			ErrorMessage       string          `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
	_ = json.Unmarshal(answer, &res) // what cannot be read says nothing
	partial := res.PartialSuccess
	rejected, _ = strconv.ParseInt(strings.Trim(string(append(partial.RejectedSpans, partial.RejectedLogRecords...)), `"`), 10, 64)
	return max(rejected, 0), partial.ErrorMessage[:min(len(partial.ErrorMessage), 256)]
}

// fields calls f for the fields of a protobuf message that are numbers or byte
// strings, up to where it cannot be read.
func fields(b []byte, f func(number, value uint64, data []byte)) {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return
		}
		b = b[n:]
		size := 0
		switch tag & 7 {
		case 0: // varint
			value, n := binary.Uvarint(b)
			if n <= 0 {
				return
			}
			f(tag>>3, value, nil)
			size = n
		case 1: // 64 bits
			size = 8
		case 2: // length and bytes
			length, n := binary.Uvarint(b)
			if n <= 0 || length > uint64(len(b)-n) {
				return
			}
			size = n + int(length)
			f(tag>>3, 0, b[n:size:size])
		case 5: // 32 bits
			size = 4
		default:
			return
		}
		if size > len(b) {
			return
		}
		b = b[size:]
	}
}
