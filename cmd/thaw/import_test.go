package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"github.com/thaw-lambda/thaw/internal/mototest"
	"github.com/thaw-lambda/thaw/internal/spool"
)

// The command reads a log group from a real server of AWS's API, with the
// credentials and the endpoint of its environment.
func TestImportLogGroup(t *testing.T) {
	for _, pair := range mototest.Environ(mototest.Start(t)) {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
	cfg, err := awsConfig(t.Context(), "", "", "")
	if err != nil {
		t.Fatal(err)
	}
	logs := cloudwatchlogs.NewFromConfig(cfg)
	group, stream := aws.String("/aws/lambda/checkout"), aws.String("2026/11/24/[$LATEST]569c0c34c7489e6a97ad08b44190aaaa")
	if _, err := logs.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group}); err != nil {
		t.Fatal(err)
	}
	if _, err := logs.CreateLogStream(t.Context(), &cloudwatchlogs.CreateLogStreamInput{LogGroupName: group, LogStreamName: stream}); err != nil {
		t.Fatal(err)
	}
	now := aws.Int64(time.Now().Add(-time.Minute).UnixMilli())
	message := aws.String("REPORT RequestId: b92a770e-7c92-4a13-84e3-613428ff991f\tDuration: 3.10 ms\tBilled Duration: 546 ms\tMemory Size: 2048 MB\tMax Memory Used: 95 MB\tInit Duration: 542.01 ms\t\n")
	if _, err := logs.PutLogEvents(t.Context(), &cloudwatchlogs.PutLogEventsInput{
		LogGroupName: group, LogStreamName: stream, LogEvents: []types.InputLogEvent{{Timestamp: now, Message: message}},
	}); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"import", "--json", "--log-group", *group, "--since", "1h"}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d: %s", code, &stderr)
	}
	var got struct {
		Invocations int `json:"invocations"`
		ColdStarts  int `json:"cold_starts"`
		Functions   []struct{ Name, Region string }
	}
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Invocations != 1 || got.ColdStarts != 1 || got.Functions[0].Name != "checkout" || got.Functions[0].Region != mototest.Region {
		t.Errorf("%+v", got)
	}
	if code := run(t.Context(), []string{"import", "--log-group", "/aws/lambda/nowhere"}, &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), "there is no log group") {
		t.Errorf("exit %d: %s", code, &stderr)
	}
}

// What the extension wrote into the log, because no backend took it, is sent on
// as it was to be sent.
func TestImportSends(t *testing.T) {
	var got [][]byte
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		got = append(got, body)
	}))
	defer backend.Close()
	payload := []byte("OTLP, as far as this test is concerned")
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(payload); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "f.log")
	if err := os.WriteFile(file, spool.AppendEnd(spool.AppendRecord(nil, "4f1d0c9ab8e27365", 0, zipped.Bytes()), "4f1d0c9ab8e27365", 1), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"import", "--send", backend.URL, file}, &stdout, &stderr); code != 0 || len(got) != 1 || !bytes.Equal(got[0], payload) {
		t.Errorf("exit %d, %q was sent: %s", code, got, &stderr)
	}
}
