{{/* The alerts of a file; their links lead to where the runbook is published, if that is said. Takes [root, path]. */}}
{{- define "hiper.rules" -}}
{{- $root := index . 0 -}}
{{- $rules := $root.Files.Get (index . 1) -}}
{{- with $root.Values.metrics.prometheusRule.runbookUrl -}}
{{- $rules | replace "runbook_url: docs/operations.md#" (printf "runbook_url: %s#" .) -}}
{{- else -}}
{{- regexReplaceAll " +runbook_url: docs/operations.md#[a-z]+\n" $rules "" -}}
{{- end -}}
{{- end -}}
