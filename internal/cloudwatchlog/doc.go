// Package cloudwatchlog reads what Lambda itself writes into CloudWatch Logs,
// and makes of it what an extension would have observed: inits, invocations,
// how they ended and what they were billed.
//
// It works in three steps, each in files of its own:
//
//	read*.go      files, pipes and API answers to log events ([Line])
//	parse*.go     the message of a log event to a platform [Event]
//	assemble*.go  events to environments, inits and invocations
//
// Lambda writes two formats. In text, START, END and REPORT lines; in JSON the
// events of the Telemetry API. Until 2024 a text REPORT did not say how the
// invocation ended: that stood in lines of its own ("Task timed out", "Error:
// Runtime exited"). All of them are read, mixed as they come.
//
// # What is not read
//
// The application's own lines. They are counted, and their ingestion delay is,
// but their text is neither kept nor shown. A line that claims to be the
// platform's and cannot be read is counted as broken; the first few are kept,
// cut short, to be shown.
//
// # What a log does not say
//
// The end of an environment, the architecture and, in most formats, the account
// and the region. Where an input does not name the log stream either, which
// environment served an invocation is inferred: a cold start begins a new one,
// and a warm invocation is served by the one that was used last and is free.
package cloudwatchlog
