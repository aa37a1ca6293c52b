// Package live reads log events from CloudWatch Logs itself.
package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"github.com/thaw-lambda/thaw/internal/cloudwatchlog"
)

// platformOnly asks CloudWatch for lines of the platform and of Thaw's spool:
// what the application wrote does not even leave it, but for lines that have
// one of these phrases.
const platformOnly = `?"RequestId: " ?"INIT_START" ?"INIT_REPORT" ?"RESTORE_START" ?"RESTORE_REPORT" ?"Task timed out after" ?"platform." ?"thaw-spool:"`

// Read calls yield for the events of a log group between two times.
func Read(ctx context.Context, cfg aws.Config, group string, start, end time.Time, yield func(cloudwatchlog.Line)) error {
	pages := cloudwatchlogs.NewFilterLogEventsPaginator(cloudwatchlogs.NewFromConfig(cfg), &cloudwatchlogs.FilterLogEventsInput{
		LogGroupName: &group, FilterPattern: aws.String(platformOnly),
		StartTime: aws.Int64(start.UnixMilli()), EndTime: aws.Int64(end.UnixMilli()),
	})
	for n := 0; pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return explain(group, err)
		}
		for _, e := range page.Events {
			n++
			yield(cloudwatchlog.Line{
				Input: group, Number: n, Group: group, Stream: aws.ToString(e.LogStreamName), Message: aws.ToString(e.Message),
				Time: millis(e.Timestamp), Ingested: millis(e.IngestionTime),
			})
		}
	}
	return nil
}

func millis(ms *int64) time.Time {
	if ms == nil || *ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(*ms).UTC()
}

func explain(group string, err error) error {
	var missing *types.ResourceNotFoundException
	if errors.As(err, &missing) {
		return fmt.Errorf("there is no log group %s in this account and region: %w", group, err)
	}
	return fmt.Errorf("read log group %s (this needs the permission logs:FilterLogEvents): %w", group, err)
}
