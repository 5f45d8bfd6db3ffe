{{/* What a pod reads and writes; the templates take the dict of hiper.pod. */}}

{{- define "hiper.pod.mounts" -}}
{{- $root := .root -}}
- {name: config, mountPath: /etc/hiper/config, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- if or .grpc .reads }}
- {name: grpc-token, mountPath: /etc/hiper/grpc, readOnly: true}
{{- if $root.Values.tls.enabled }}
- {name: tls, mountPath: /etc/hiper/tls, readOnly: true}
{{- end }}
{{- end }}
{{- if .user }}
- {name: broker-password, mountPath: /etc/hiper/broker, readOnly: true}
{{- if include "hiper.brokerCa" $root }}
- {name: broker-ca, mountPath: /etc/hiper/broker-ca, readOnly: true}
{{- end }}
{{- end }}
{{- if .run }}
- {name: run, mountPath: {{ include "hiper.runDir" $root }}{{ if eq .run "ro" }}, readOnly: true{{ end }}}
{{- end }}
{{- if .gpuCaches }}
- {name: cache, mountPath: /cache}
{{- if $root.Values.secrets.huggingface.existingSecret }}
- {name: huggingface, mountPath: /etc/hiper/huggingface, readOnly: true}
{{- end }}
{{- end }}
{{- if $root.Values.tracing.caSecret }}
- {name: tracing-ca, mountPath: /etc/hiper/tracing-ca, readOnly: true}
{{- end }}
{{- if and .models $root.Values.storage.models.existingClaim }}
- {name: models, mountPath: /models, readOnly: true}
{{- end }}
{{- if .values.gpu.count }}
- {name: shm, mountPath: /dev/shm}
{{- end }}
{{- if and .data .data.existingClaim }}
- {name: data, mountPath: {{ .data.mountPath }}, readOnly: true}
{{- end }}
{{- with concat (default list .mounts) .values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "hiper.pod.volumes" -}}
{{- $root := .root -}}
- name: config
  configMap: {name: {{ include "hiper.name" (list $root "config") }}}
- name: tmp
  emptyDir: {sizeLimit: {{ .values.tmpSize }}}
{{- if or .grpc .reads }}
- name: grpc-token
  secret: {secretName: {{ include "hiper.tokenSecret" (list $root "grpc") }}, defaultMode: 0440}
{{- if $root.Values.tls.enabled }}
- name: tls
  secret: {secretName: {{ include "hiper.tlsSecret" $root }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- with .user }}
{{ include "hiper.pod.brokerVolumes" (list $root .) }}
{{- end }}
{{- if .run }}
- name: run
  persistentVolumeClaim: {claimName: {{ include "hiper.runClaim" $root }}}
{{- end }}
{{- if .gpuCaches }}
- name: cache
  emptyDir: {}
{{- with $root.Values.secrets.huggingface.existingSecret }}
- name: huggingface
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- with $root.Values.tracing.caSecret }}
- name: tracing-ca
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- if and .models $root.Values.storage.models.existingClaim }}
- name: models
  persistentVolumeClaim: {claimName: {{ $root.Values.storage.models.existingClaim }}, readOnly: true}
{{- end }}
{{- if .values.gpu.count }}
- name: shm
  emptyDir: {medium: Memory, sizeLimit: {{ .values.gpu.shmSize }}}
{{- end }}
{{- if and .data .data.existingClaim }}
- name: data
  persistentVolumeClaim: {claimName: {{ .data.existingClaim }}, readOnly: true}
{{- end }}
{{- with concat (default list .volumes) .values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What a pod needs to log in to the broker: one user's password, and the authority of the server. Takes [root, user]. */}}
{{- define "hiper.pod.brokerVolumes" -}}
{{- $root := index . 0 -}}
- name: broker-password
  secret:
    secretName: {{ include "hiper.brokerSecret" $root }}
    defaultMode: 0440
    items: [{key: {{ include "hiper.brokerKey" . }}, path: password}]
{{- with include "hiper.brokerCa" $root }}
- name: broker-ca
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{- define "hiper.runClaim" -}}
{{- default (include "hiper.name" (list . "run")) .Values.storage.run.existingClaim -}}
{{- end -}}

{{/* Secret with the broker's authority, if it needs one. */}}
{{- define "hiper.brokerCa" -}}
{{- if not .Values.broker.enabled }}{{ .Values.externalBroker.tls.caSecret }}{{ end -}}
{{- end -}}
