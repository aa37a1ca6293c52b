// Package lambdaapi holds the wire types of the three APIs that AWS Lambda
// offers inside an execution environment: the Runtime API (2018-06-01), the
// Extensions API (2020-01-01) and the Telemetry API (2022-07-01).
//
// It is shared by the two sides of that wire: the extension, which decodes,
// and the emulator, which encodes. It contains no behaviour beyond that, and
// no dependency outside the standard library, because it links into the
// extension.
//
// Sources: the AWS Lambda Developer Guide, pages "Extensions API",
// "Telemetry API", "Telemetry API schema reference" and "Custom runtimes".
package lambdaapi
