package collect

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"github.com/thaw-lambda/thaw/internal/account"
)

const (
	awsLambda = "AWS/Lambda" // the namespace of Lambda's own metrics
	period    = time.Hour
	// queriesPerCall is the most that GetMetricData takes.
	queriesPerCall = 500
)

// series is one metric in hours, and where its values go.
type series struct {
	metric, statistic string
	function          string
	qualifier         string // of an alias or version, else ""
	into              func(hours []float64)
}

// sum and maximum make a value of the hours; none stays nil.
func sum(into **float64) func([]float64) {
	return func(hours []float64) {
		if len(hours) == 0 {
			return
		}
		total := 0.0
		for _, v := range hours {
			total += v
		}
		*into = &total
	}
}

func maximum(into **float64) func([]float64) {
	return func(hours []float64) {
		for _, v := range hours {
			if *into == nil || v > **into {
				*into = aws.Float64(v)
			}
		}
	}
}

// wantedSeries lists what is asked of CloudWatch for a function.
func wantedSeries(f *account.Function) []series {
	m := &account.Metrics{ConcurrentExecutions: []float64{}}
	f.Metrics = m
	of := func(metric, statistic string, into func([]float64)) series {
		return series{metric, statistic, f.Name, "", into}
	}
	list := []series{
		of("Invocations", "Sum", sum(&m.Invocations)),
		of("Errors", "Sum", sum(&m.Errors)),
		of("Throttles", "Sum", func(hours []float64) {
			sum(&m.Throttles)(hours)
			for _, v := range hours {
				if v > 0 {
					m.ThrottledHours++
				}
			}
		}),
		of("ConcurrentExecutions", "Maximum", func(hours []float64) {
			maximum(&m.ConcurrentExecutionsMax)(hours)
			m.ConcurrentExecutions = append(m.ConcurrentExecutions, hours...)
		}),
		of("AsyncEventAge", "Maximum", maximum(&m.AsyncEventAgeMaxMS)),
		of("AsyncEventsReceived", "Sum", sum(&m.AsyncEventsReceived)),
		of("AsyncEventsDropped", "Sum", sum(&m.AsyncEventsDropped)),
		of("DeadLetterErrors", "Sum", sum(&m.DeadLetterErrors)),
		of("DestinationDeliveryFailures", "Sum", sum(&m.DestinationDeliveryFailures)),
		of("IteratorAge", "Maximum", maximum(&m.IteratorAgeMaxMS)),
	}
	for i := range f.Provisioned {
		p := &f.Provisioned[i]
		qualified := func(metric, statistic string, into func([]float64)) series {
			return series{metric, statistic, f.Name, p.Qualifier, into}
		}
		list = append(list,
			qualified("ProvisionedConcurrencyUtilization", "Maximum", func(hours []float64) { p.Utilization = append(p.Utilization, hours...) }),
			qualified("ProvisionedConcurrencySpilloverInvocations", "Sum", sum(&p.Spillover)),
			qualified("ProvisionedConcurrencyInvocations", "Sum", sum(&p.Invocations)),
		)
	}
	return list
}

// query makes the query of s with the id n.
func (s *series) query(namespace string, n int) types.MetricDataQuery {
	dimensions := []types.Dimension{{Name: aws.String("FunctionName"), Value: &s.function}}
	if s.qualifier != "" {
		dimensions = append(dimensions, types.Dimension{Name: aws.String("Resource"), Value: aws.String(s.function + ":" + s.qualifier)})
	}
	return types.MetricDataQuery{
		Id: aws.String(fmt.Sprintf("q%d", n)),
		MetricStat: &types.MetricStat{
			Metric: &types.Metric{Namespace: &namespace, MetricName: &s.metric, Dimensions: dimensions},
			Period: aws.Int32(int32(period / time.Second)),
			Stat:   &s.statistic,
		},
	}
}

// collectMetrics asks for the metrics of all functions, as many at once as
// CloudWatch takes.
func (c *collector) collectMetrics(ctx context.Context) error {
	if !c.out.Start.Before(c.out.End) {
		return nil
	}
	var all []series
	for i := range c.out.Functions {
		all = append(all, wantedSeries(&c.out.Functions[i])...)
	}
	for len(all) > 0 {
		n := min(len(all), queriesPerCall)
		if err := c.ask(ctx, all[:n]); err != nil {
			for i := range c.out.Functions {
				c.out.Functions[i].Metrics = nil
			}
			return c.may("metrics (cloudwatch:GetMetricData)", err)
		}
		all = all[n:]
	}
	return nil
}

func (c *collector) ask(ctx context.Context, list []series) error {
	input := &cloudwatch.GetMetricDataInput{StartTime: &c.out.Start, EndTime: &c.out.End, ScanBy: types.ScanByTimestampAscending}
	for i := range list {
		input.MetricDataQueries = append(input.MetricDataQueries, list[i].query(c.namespace, i))
	}
	hours := make(map[string][]float64, len(list))
	pages := cloudwatch.NewGetMetricDataPaginator(c.metrics, input)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, r := range page.MetricDataResults {
			hours[aws.ToString(r.Id)] = append(hours[aws.ToString(r.Id)], r.Values...)
		}
	}
	for i := range list {
		list[i].into(hours[fmt.Sprintf("q%d", i)])
	}
	return nil
}
