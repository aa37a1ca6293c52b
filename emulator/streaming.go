package emulator

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/google/uuid"
)

// stream takes a response from the runtime to the caller, as it comes.
type stream struct {
	chunks chan []byte
	gone   <-chan struct{} // the caller; the runtime does not learn of it
}

// Write hands a part of the response over. It never fails.
func (s *stream) Write(p []byte) (int, error) {
	select {
	case s.chunks <- bytes.Clone(p):
	case <-s.gone:
	}
	return len(p), nil
}

// serveStream is InvokeWithResponseStream: the parts of the response are events
// of a stream, and so is its end. A response that the runtime does not stream is
// one part.
func (e *Emulator) serveStream(w http.ResponseWriter, r *http.Request) {
	request, failure := parseInvoke(w, r)
	if failure == nil {
		failure = request.validate()
	}
	var inv *invocation
	s := &stream{chunks: make(chan []byte), gone: r.Context().Done()}
	if failure == nil {
		inv, failure = e.begin(r.Context(), request, s)
	}
	if failure != nil {
		w.Header().Set("X-Amzn-RequestId", uuid.NewString())
		failure.write(w)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/vnd.amazon.eventstream")
	h.Set("X-Amzn-RequestId", inv.id)
	h.Set("X-Amz-Executed-Version", inv.fn.Version)
	out := &eventWriter{w: w, encoder: eventstream.NewEncoder()}
	streamed := out.copy(s, inv)
	select {
	case <-inv.answered:
	default:
		return // the caller has gone
	}
	if !streamed && inv.result.FunctionError == "" {
		out.event("PayloadChunk", "application/octet-stream", inv.result.Payload)
	}
	if request.tail {
		<-inv.done
	}
	out.event("InvokeComplete", "application/json", complete(inv, request.tail))
}

// complete is the last event of a stream.
func complete(inv *invocation, tail bool) []byte {
	end := map[string]string{}
	if inv.result.FunctionError != "" {
		end["ErrorCode"], end["ErrorDetails"] = inv.result.FunctionError, string(inv.result.Payload)
	}
	if tail {
		end["LogResult"] = base64.StdEncoding.EncodeToString([]byte(inv.log.String()))
	}
	body, _ := json.Marshal(end) // strings can always be encoded
	return body
}

// eventWriter writes events of a stream.
type eventWriter struct {
	w       http.ResponseWriter
	encoder *eventstream.Encoder
}

// copy writes the parts that come until the invocation is answered, and reports
// whether there were any.
func (o *eventWriter) copy(s *stream, inv *invocation) (streamed bool) {
	for {
		select {
		case chunk := <-s.chunks:
			streamed = true
			o.event("PayloadChunk", "application/octet-stream", chunk)
		case <-inv.answered:
			return streamed
		case <-s.gone:
			return streamed
		}
	}
}

func (o *eventWriter) event(kind, contentType string, payload []byte) {
	message := eventstream.Message{Payload: payload}
	message.Headers.Set(":message-type", eventstream.StringValue("event"))
	message.Headers.Set(":event-type", eventstream.StringValue(kind))
	message.Headers.Set(":content-type", eventstream.StringValue(contentType))
	_ = o.encoder.Encode(o.w, message) // the caller may have gone
	if flusher, ok := o.w.(http.Flusher); ok {
		flusher.Flush()
	}
}
