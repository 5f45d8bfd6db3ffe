{{/* Peers of a component of this release. Takes [root, component]; an empty component is all of it. */}}
{{- define "hiper.peer" -}}
- podSelector:
    matchLabels:
      {{- include "hiper.selector" . | nindent 6 }}
{{- end -}}

{{/* Takes [root, component, callers of its gRPC port]. */}}
{{- define "hiper.ingress" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- if eq $name "broker" -}}
- from:
    {{- range list "rollout" "reward" "hae" "learner" "control" "test" }}
    {{- include "hiper.peer" (list $root .) | nindent 4 }}
    {{- end }}
  ports: [{protocol: TCP, port: broker}]
{{- else }}
{{- with index . 2 }}
- from:
    {{- range . }}
    {{- include "hiper.peer" (list $root .) | nindent 4 }}
    {{- end }}
  ports: [{protocol: TCP, port: grpc}]
{{- end }}
{{- if and (eq $name "learner") (gt ($root.Values.learner.nodes | int) 1) }}
# Collectives between the nodes use ports of their own choice.
- from:
    {{- include "hiper.peer" (list $root "learner") | nindent 4 }}
{{- end }}
{{- if and (has $name (list "learner" "rollout")) (eq (include "hiper.transport" $root) "http") }}
- from:
    {{- include "hiper.peer" (list $root "rollout") | nindent 4 }}
  ports: [{protocol: TCP, port: weights}]
{{- end }}
{{- if ne $name "test" }}
- from:
    {{- include "hiper.peer" (list $root "control") | nindent 4 }}
    {{- include "hiper.peer" (list $root "test") | nindent 4 }}
  ports: [{protocol: TCP, port: http}]
{{- end }}
{{- end }}
{{- if and (eq $name "control") $root.Values.networkPolicy.allowExternal }}
- ports: [{protocol: TCP, port: api}]
{{- end }}
{{- if not (has $name (list "test" "broker")) }}
{{- with $root.Values.networkPolicy.monitoringNamespaceSelector }}
- from:
    - namespaceSelector:
        matchLabels:
          {{- toYaml . | nindent 10 }}
  ports: [{protocol: TCP, port: http}]
{{- end }}
{{- end }}
{{- if eq $name "test" }}
# Nobody calls a test.
[]
{{- end }}
{{- end -}}

{{/* Takes [root, component, whom it calls]. */}}
{{- define "hiper.egress" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- range index . 2 }}
{{- if and (eq . "broker") (not $root.Values.broker.enabled) }}
# The broker is outside of this release.
- ports: [{protocol: TCP, port: {{ $root.Values.externalBroker.port }}}]
{{- else if eq . "broker" }}
- to:
    {{- include "hiper.peer" (list $root "broker") | nindent 4 }}
  ports: [{protocol: TCP, port: 6379}]
{{- else if eq . "everything" }}
- to:
    {{- include "hiper.peer" (list $root "") | nindent 4 }}
{{- else }}
- to:
    {{- include "hiper.peer" (list $root .) | nindent 4 }}
  ports: [{protocol: TCP, port: 50051}]
{{- end }}
{{- end }}
{{- if and (eq $name "rollout") (eq (include "hiper.transport" $root) "http") }}
- to:
    {{- include "hiper.peer" (list $root "learner") | nindent 4 }}
    {{- include "hiper.peer" (list $root "rollout") | nindent 4 }}
  ports: [{protocol: TCP, port: 8085}]
{{- end }}
{{- if and (eq $name "learner") (gt ($root.Values.learner.nodes | int) 1) }}
- to:
    {{- include "hiper.peer" (list $root "learner") | nindent 4 }}
{{- end }}
{{- if and (has $name (list "rollout" "learner")) $root.Values.networkPolicy.allowModelDownload }}
# Models from a hub, over HTTPS.
- ports: [{protocol: TCP, port: 443}]
{{- end }}
{{- if eq $name "control" }}
# The Kubernetes API, which has no labels to select it by.
- ports: [{protocol: TCP, port: 443}, {protocol: TCP, port: 6443}]
{{- end }}
{{- if not (or (index . 2) (eq $name "control")) }}
[]
{{- end }}
{{- end -}}
