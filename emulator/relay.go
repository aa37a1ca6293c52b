package emulator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

const (
	// queueLimit bounds, in batches, what a slow consumer can make us keep.
	queueLimit = 4

	deliveryAttempts = 6
	firstBackoff     = 50 * time.Millisecond // doubled after each attempt
)

// relay hands telemetry events to the extensions that subscribed. While the
// environment is frozen the relay is too: what is not sent before, arrives
// after the next thaw.
type relay struct {
	ctx    context.Context // ends all deliveries
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced on every change
	closed   bool          // no further subscriptions
	paused   bool
	flushing bool    // nothing waits for a batch to fill any more
	replay   []event // all of the init so far, for who subscribes during it
	subs     []*subscriber
}

// event is a telemetry event on its way.
type event struct {
	stream string
	text   []byte // as JSON
	object []byte // the same with the log line as an object, if it is one
}

// subscriber is one subscription and what is queued for it.
type subscriber struct {
	subscription
	name     string
	queue    [][]byte
	bytes    int
	due      time.Time // when the first event of the queue has to be sent
	sending  bool
	flushing bool
	dropped  lambdaapi.LogsDropped
	conn     net.Conn // TCP only
}

func newRelay() *relay {
	r := &relay{changed: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// close ends all deliveries at once.
func (r *relay) close() {
	r.cancel()
	r.work.Wait()
}

func (r *relay) notify() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// emit sends a platform event.
func (r *relay) emit(eventType string, record any) {
	data, _ := json.Marshal(record) // our own types can always be encoded
	r.send(event{stream: lambdaapi.StreamPlatform, text: envelope(eventType, data)})
}

// emitLine sends a line of a function's or an extension's log.
func (r *relay) emitLine(stream, line string) {
	text, _ := json.Marshal(line) // a string can always be encoded
	e := event{stream: stream, text: envelope(stream, text)}
	if trimmed := strings.TrimSpace(line); strings.HasPrefix(trimmed, "{") && json.Valid([]byte(trimmed)) {
		e.object = envelope(stream, []byte(trimmed))
	}
	r.send(e)
}

func envelope(eventType string, record []byte) []byte {
	data, _ := json.Marshal(lambdaapi.Event{Time: lambdaapi.Time{Time: time.Now()}, Type: eventType, Record: record})
	return data
}

func (r *relay) send(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed && len(r.replay) < defaultMaxItems {
		r.replay = append(r.replay, e)
	}
	for _, sub := range r.subs {
		sub.enqueue(e)
	}
	r.notify()
}

// subscribe adds a subscription and replays the init to it. It reports false
// when subscriptions are closed. A repeated one changes nothing.
func (r *relay) subscribe(name string, s subscription) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	if slices.ContainsFunc(r.subs, func(sub *subscriber) bool { return sub.name == name }) {
		return true
	}
	sub := &subscriber{subscription: s, name: name, flushing: r.flushing}
	for _, e := range r.replay {
		sub.enqueue(e)
	}
	r.subs = append(r.subs, sub)
	r.work.Go(func() { r.deliver(sub) })
	return true
}

// closeSubscriptions ends the time in which one can subscribe: the init, when it
// succeeds. One that fails leaves it open until the reset has ended all, so an
// extension that was slower than the end of the runtime still learns of it.
func (r *relay) closeSubscriptions() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed, r.replay = true, nil
}

// setPaused freezes and thaws the relay.
func (r *relay) setPaused(paused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paused = paused
	r.notify()
}

// flush sends all that is queued now, and waits for it until ctx ends.
func (r *relay) flush(ctx context.Context) {
	r.mu.Lock()
	r.flushing = true
	for _, sub := range r.subs {
		sub.flushing = true
	}
	r.notify()
	for slices.ContainsFunc(r.subs, (*subscriber).busy) {
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		r.mu.Lock()
	}
	r.mu.Unlock()
}

// The methods of subscriber below need the relay's lock.

func (s *subscriber) busy() bool { return len(s.queue) > 0 || s.sending }

func (s *subscriber) enqueue(e event) {
	if !slices.Contains(s.types, e.stream) {
		return
	}
	data := e.text
	if e.object != nil && s.schema != schemas[0] {
		data = e.object
	}
	if len(s.queue) >= queueLimit*s.maxItems || s.bytes+len(data) > queueLimit*s.maxBytes {
		s.drop("Some logs were dropped because the downstream consumer is slower than the logs production rate", data)
		return
	}
	s.push(data)
}

func (s *subscriber) push(data []byte) {
	if len(s.queue) == 0 {
		s.due = time.Now().Add(time.Duration(s.timeoutMs) * time.Millisecond)
	}
	s.queue = append(s.queue, data)
	s.bytes += len(data)
}

func (s *subscriber) drop(reason string, batch ...[]byte) {
	s.dropped.Reason = reason
	for _, data := range batch {
		s.dropped.DroppedRecords++
		s.dropped.DroppedBytes += int64(len(data))
	}
}

func (s *subscriber) full() bool {
	return s.flushing || len(s.queue) >= s.maxItems || s.bytes >= s.maxBytes
}

// take removes the next batch from the queue.
func (s *subscriber) take() (batch [][]byte) {
	size := 0
	for len(s.queue) > 0 && len(batch) < s.maxItems && size < s.maxBytes {
		batch = append(batch, s.queue[0])
		size += len(s.queue[0])
		s.queue = s.queue[1:]
	}
	s.bytes -= size
	s.due = time.Now().Add(time.Duration(s.timeoutMs) * time.Millisecond)
	return batch
}

// deliver sends sub's batches until the relay is closed.
func (r *relay) deliver(sub *subscriber) {
	defer func() {
		if sub.conn != nil {
			_ = sub.conn.Close()
		}
	}()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for {
		batch := r.nextBatch(sub)
		if batch == nil {
			return
		}
		err := r.sendBatch(client, sub, batch)
		r.mu.Lock()
		sub.sending = false
		if err != nil {
			sub.drop("could not send events: "+err.Error(), batch...)
		} else if sub.dropped.DroppedRecords > 0 {
			record, _ := json.Marshal(sub.dropped)
			sub.dropped = lambdaapi.LogsDropped{}
			if slices.Contains(sub.types, lambdaapi.StreamPlatform) {
				sub.push(envelope(lambdaapi.TypeLogsDropped, record))
			}
		}
		r.notify()
		r.mu.Unlock()
	}
}

// nextBatch waits for a batch that is due; nil means that the relay is closed.
func (r *relay) nextBatch(sub *subscriber) [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		wait := time.Duration(-1)
		if len(sub.queue) > 0 && !r.paused {
			if wait = time.Until(sub.due); wait <= 0 || sub.full() {
				sub.sending = true
				return sub.take()
			}
		}
		if !r.wait(wait) {
			return nil
		}
	}
}

// wait releases the lock until something changes or d, if not negative, is
// over. It reports false when the relay is closed.
func (r *relay) wait(d time.Duration) bool {
	changed := r.changed
	r.mu.Unlock()
	defer r.mu.Lock()
	var timeout <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-changed:
	case <-timeout:
	case <-r.ctx.Done():
	}
	return r.ctx.Err() == nil
}

// sendBatch tries a few times, and does not count the time of a freeze.
func (r *relay) sendBatch(client *http.Client, sub *subscriber, batch [][]byte) error {
	backoff := firstBackoff
	for attempt := 1; ; attempt++ {
		err := r.post(client, sub, batch)
		if err == nil || attempt == deliveryAttempts || r.ctx.Err() != nil {
			return err
		}
		if !r.pause(backoff) {
			return err
		}
		backoff *= 2
	}
}

// pause waits at least d, and longer while the relay is frozen.
func (r *relay) pause(d time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	until := time.Now().Add(d)
	for {
		wait := time.Until(until)
		if wait <= 0 && !r.paused {
			return true
		}
		if !r.wait(wait) { // negative: until the thaw
			return false
		}
	}
}

// post delivers one batch. There is no time limit: a consumer that is frozen
// in the middle of it answers after the thaw, however late.
func (r *relay) post(client *http.Client, sub *subscriber, batch [][]byte) error {
	if sub.protocol == "TCP" {
		return r.stream(sub, batch)
	}
	body := slices.Concat([]byte{'['}, bytes.Join(batch, []byte{','}), []byte{']'})
	request, err := http.NewRequestWithContext(r.ctx, http.MethodPost, sub.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Host = sub.host // consumers may check the name that they asked for
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxExtensionBody)) // so that the connection is kept
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("status %s", response.Status)
	}
	return nil
}

// stream delivers a batch over TCP, one event a line.
func (r *relay) stream(sub *subscriber, batch [][]byte) error {
	if sub.conn == nil {
		var dialer net.Dialer
		conn, err := dialer.DialContext(r.ctx, "tcp", sub.address)
		if err != nil {
			return err
		}
		context.AfterFunc(r.ctx, func() { _ = conn.Close() }) // a blocked write ends with the relay
		sub.conn = conn
	}
	if _, err := sub.conn.Write(append(bytes.Join(batch, []byte{'\n'}), '\n')); err != nil {
		_ = sub.conn.Close()
		sub.conn = nil
		return err
	}
	return nil
}
