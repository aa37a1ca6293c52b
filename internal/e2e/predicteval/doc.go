// Package predicteval evaluates the prediction of memory sizes against real
// functions in the local Lambda. It is all tests:
//
//	TestPredictionOnRealFunctions   a small live measurement, in every run
//	TestRecordedCells               the whole evaluation, on what was measured last
//	TestUsageAccuracy               the CPU time as the extension sees it, against the function's own
//	TestMeasure                     measures everything anew, with -measure
//
// The function that works in so many ways is in workload, those for Node.js and
// Python in testdata. The last measurement is testdata/cells.json, and
// docs/prediction.md is written from it:
//
//	make build
//	go test ./internal/e2e/predicteval -run TestMeasure -timeout 20m -measure requests.jsonl
//	go test ./internal/e2e/predicteval -run TestRecordedCells -from requests.jsonl -update
package predicteval
