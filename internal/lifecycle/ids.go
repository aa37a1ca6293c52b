package lifecycle

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// digest hashes the parts of an identity. The separator cannot occur in a
// request id or in the name of a log stream.
func digest(parts ...string) [sha256.Size]byte {
	return sha256.Sum256([]byte(strings.Join(parts, "\x00")))
}

// SpanID returns the id of the span that plays role (a span type, or the name
// of a part) for the identity.
func (id Identity) SpanID(role string) pcommon.SpanID {
	sum := digest("span", id.Environment, id.RequestID, strconv.FormatInt(id.StartUnixMs, 10), role)
	return pcommon.SpanID(sum[:8])
}

// TraceID returns the trace of the identity where there is no X-Ray header.
func (id Identity) TraceID() pcommon.TraceID {
	sum := digest("trace", id.Environment, id.RequestID, strconv.FormatInt(id.StartUnixMs, 10))
	return pcommon.TraceID(sum[:16])
}

// XRay is a parsed X-Ray trace header.
type XRay struct {
	TraceID pcommon.TraceID
	Parent  pcommon.SpanID
	Sampled bool
}

// ParseXRay reads a header like
// "Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=2be948a625588e32;Sampled=1".
// Fields that are absent or malformed stay zero; unknown ones are ignored.
// Source: AWS X-Ray Developer Guide, "Tracing header".
func ParseXRay(header string) XRay {
	var x XRay
	for field := range strings.SplitSeq(header, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch key {
		case "Root":
			x.TraceID = parseRoot(value)
		case "Parent":
			if b, err := hex.DecodeString(value); err == nil && len(b) == 8 {
				x.Parent = pcommon.SpanID(b)
			}
		case "Sampled":
			x.Sampled = value == "1"
		}
	}
	return x
}

func parseRoot(root string) pcommon.TraceID {
	fields := strings.Split(root, "-")
	if len(fields) != 3 || fields[0] != "1" || len(fields[1]) != 8 || len(fields[2]) != 24 {
		return pcommon.TraceID{}
	}
	b, err := hex.DecodeString(fields[1] + fields[2])
	if err != nil {
		return pcommon.TraceID{}
	}
	return pcommon.TraceID(b)
}
