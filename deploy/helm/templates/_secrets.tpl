{{/* Secrets: given ones are used as they are; ours are made once and found again by `lookup` at every upgrade. */}}

{{- define "hiper.brokerUsers" -}}rollout reward hae learner observer operator{{- end -}}

{{/* Name of the Secret with the broker's passwords. */}}
{{- define "hiper.brokerSecret" -}}
{{- if .Values.broker.enabled -}}
{{- default (include "hiper.name" (list . "broker-users")) .Values.broker.existingSecret -}}
{{- else -}}
{{- .Values.externalBroker.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* Key of a user's password. Takes [root, user]. */}}
{{- define "hiper.brokerKey" -}}
{{- $root := index . 0 -}}
{{- if and (not $root.Values.broker.enabled) $root.Values.externalBroker.username -}}
{{- $root.Values.externalBroker.passwordKey -}}
{{- else -}}
{{- index . 1 -}}
{{- end -}}
{{- end -}}

{{/* Takes [root, user]. Without the password, which is read from a file. */}}
{{- define "hiper.brokerUrl" -}}
{{- $root := index . 0 -}}
{{- $user := index . 1 -}}
{{- $external := $root.Values.externalBroker -}}
{{- if $root.Values.broker.enabled -}}
redis://{{ $user }}@{{ include "hiper.host" (list $root "broker") }}:6379/0
{{- else -}}
{{ ternary "rediss" "redis" $external.tls.enabled }}://{{ default $user $external.username }}@{{ $external.host }}:{{ $external.port }}/0
{{- if and $external.tls.enabled $external.tls.caSecret }}?ssl_ca_certs=/etc/hiper/broker-ca/ca.crt{{ end -}}
{{- end -}}
{{- end -}}

{{/* Takes [root, "grpc" or "control"]. */}}
{{- define "hiper.tokenSecret" -}}
{{- $root := index . 0 -}}
{{- default (include "hiper.name" (list $root (printf "%s-token" (index . 1)))) (index $root.Values.secrets (index . 1)).existingSecret -}}
{{- end -}}

{{/* A value of one of our Secrets: the one in the cluster, else a new one.
     Takes [root, secret, key]. */}}
{{- define "hiper.kept" -}}
{{- $root := index . 0 -}}
{{- $secret := index . 1 -}}
{{- $key := index . 2 -}}
{{- $there := dig "data" $key "" (lookup "v1" "Secret" $root.Release.Namespace $secret | default dict) -}}
{{- $there | default (randAlphaNum 40 | b64enc) -}}
{{- end -}}

{{- define "hiper.tlsSecret" -}}
{{- default (include "hiper.name" (list . "grpc-tls")) .Values.tls.existingSecret -}}
{{- end -}}
