package extension

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// BenchmarkInvocation is what a warm invocation costs us from its telemetry to
// the compressed batch, without the sockets. Bytes are those on the wire, in
// batches of a second of a busy function.
func BenchmarkInvocation(b *testing.B) {
	cfg, _ := readConfig([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"})
	exporter, err := newExporter(&cfg, lookup(nil))
	if err != nil {
		b.Fatal(err)
	}
	rec := newRecorder(zerolog.New(io.Discard))
	rec.queue = queue{maxSpans: cfg.queueSpans, maxBytes: cfg.queueBytes}
	rec.machine.telemetry = true
	rec.machine.newID = func() string { return "random" }
	rec.machine.env.Name = "thumbnail"
	rec.encoder.Environment = &rec.machine.env
	decoder := newDecoder()

	const batch = 50
	var spans, bytes int64
	b.ReportAllocs()
	for i := range b.N {
		id := fmt.Sprintf("79b4f56e-95b1-4643-9700-%012d", i)
		at := time.Unix(1767225600, int64(i)*int64(20*time.Millisecond))
		rec.invoke(lambdaapi.NextEvent{RequestID: id, InvokedFunctionARN: "arn:aws:lambda:eu-west-1:123456789012:function:thumbnail"})
		body := "[" + startEvent(at, id) + "," + telemetryEvent(at, lambdaapi.TypeFunction, `"hello\n"`) + "," +
			runtimeDoneEvent(at.Add(13*time.Millisecond), id) + "," + reportEvent(at.Add(14*time.Millisecond), id) + "]"
		rec.observe(decoder.decode([]byte(body)))
		if i%batch < batch-1 {
			continue
		}
		out := rec.next()
		body2, err := exporter.compress(out.payload)
		if err != nil {
			b.Fatal(err)
		}
		spans += out.spans
		bytes += int64(len(body2))
	}
	if sent := int64(b.N / batch * batch); sent > 0 {
		b.ReportMetric(float64(spans)/float64(sent), "spans/op")
		b.ReportMetric(float64(bytes)/float64(sent), "wire-B/op")
	}
}
