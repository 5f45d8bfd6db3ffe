{{/* Where spans go, in the standard's variables: the exporter of every service reads them. Nothing without a collector. */}}
{{- define "hiper.tracingEnv" -}}
{{- with .Values.tracing -}}
{{- if .endpoint -}}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .endpoint | quote }}}
- {name: OTEL_EXPORTER_OTLP_PROTOCOL, value: {{ .protocol | quote }}}
{{- if .headers.existingSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef: {name: {{ .headers.existingSecret }}, key: {{ .headers.key }}}
{{- end }}
{{- if .caSecret }}
- {name: OTEL_EXPORTER_OTLP_CERTIFICATE, value: /etc/hiper/tracing-ca/ca.crt}
{{- end }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ include "hiper.resourceAttributes" $ | quote }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "hiper.resourceAttributes" -}}
k8s.namespace.name={{ .Release.Namespace }},k8s.pod.name=$(POD_NAME)
{{- range $key, $value := .Values.tracing.resourceAttributes }},{{ $key }}={{ $value }}{{ end -}}
{{- end -}}
