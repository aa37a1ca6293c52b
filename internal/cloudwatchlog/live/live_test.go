package live

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"github.com/thaw-lambda/thaw/internal/cloudwatchlog"
	"github.com/thaw-lambda/thaw/internal/mototest"
)

const group = "/aws/lambda/checkout"

// A log group with two streams, more than a page of events, and an application
// that talks, read from a real server of AWS's API.
func TestRead(t *testing.T) {
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion(mototest.Region), config.WithBaseEndpoint(mototest.Start(t)),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(mototest.AccessKeyID, mototest.SecretAccessKey, "")))
	if err != nil {
		t.Fatal(err)
	}
	logs := cloudwatchlogs.NewFromConfig(cfg)
	if _, err := logs.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String(group)}); err != nil {
		t.Fatal(err)
	}
	begin := time.Now().Add(-2 * time.Hour).Truncate(time.Millisecond)
	const each = 400
	for s := range 2 {
		stream := fmt.Sprintf("2026/11/24/[$LATEST]%032x", s)
		if _, err := logs.CreateLogStream(t.Context(), &cloudwatchlogs.CreateLogStreamInput{LogGroupName: aws.String(group), LogStreamName: &stream}); err != nil {
			t.Fatal(err)
		}
		var events []types.InputLogEvent
		put := func(ms int, message string) {
			events = append(events, types.InputLogEvent{Timestamp: aws.Int64(begin.UnixMilli() + int64(ms)), Message: &message})
		}
		for i := range each {
			id := fmt.Sprintf("%08x-0000-4000-8000-%012x", s, i)
			ms, init := 1000*i, ""
			if i == 0 {
				init = "Init Duration: 300.00 ms\t"
			}
			put(ms, "START RequestId: "+id+" Version: $LATEST\n")
			put(ms+1, "the application says hello\n")
			put(ms+9, "END RequestId: "+id+"\n")
			put(ms+9, "REPORT RequestId: "+id+"\tDuration: 9.00 ms\tBilled Duration: 9 ms\tMemory Size: 128 MB\tMax Memory Used: 40 MB\t"+init+"\n")
		}
		if _, err := logs.PutLogEvents(t.Context(), &cloudwatchlogs.PutLogEventsInput{LogGroupName: aws.String(group), LogStreamName: &stream, LogEvents: events}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(start, end time.Time) *cloudwatchlog.Summary {
		t.Helper()
		a := cloudwatchlog.NewAssembler(cloudwatchlog.Known{Region: mototest.Region})
		if err := Read(t.Context(), cfg, group, start, end, a.Add); err != nil {
			t.Fatal(err)
		}
		return a.Finish().Summary()
	}
	all := read(begin, time.Now())
	if all.Invocations != 2*each || all.ColdStarts != 2 || all.Unparsed != 0 || all.WithoutReport != 0 || len(all.Functions) != 1 {
		t.Errorf("%+v", all)
	}
	if f := all.Functions[0]; f.Name != "checkout" || f.Region != mototest.Region || f.Environments != 2 {
		t.Errorf("function %+v", f)
	}
	if all.LogLatency == nil || all.LogLatency.MeanMS < 1000 {
		t.Errorf("log latency %+v: the events were ingested an hour late at least", all.LogLatency)
	}
	if part := read(begin.Add(100*time.Second), begin.Add(199*time.Second+500*time.Millisecond)); part.Invocations != 200 {
		t.Errorf("%d invocations in a hundred seconds", part.Invocations)
	}
	if err := Read(t.Context(), cfg, "/aws/lambda/nowhere", begin, time.Now(), func(cloudwatchlog.Line) {}); err == nil || !strings.Contains(err.Error(), "there is no log group /aws/lambda/nowhere") {
		t.Errorf("a group that is not there: %v", err)
	}
}
