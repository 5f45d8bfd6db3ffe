{{/* What stands around a pod. */}}

{{- define "hiper.account" -}}
{{- if .Values.serviceAccount.create }}{{ include "hiper.fullname" . | trunc 63 | trimSuffix "-" }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end -}}
{{- end -}}

{{- define "hiper.controlAccount" -}}
{{- if .Values.serviceAccount.create }}{{ include "hiper.name" (list . "control") }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end -}}
{{- end -}}

{{/* A Deployment around such a pod; takes its dict. */}}
{{- define "hiper.deployment" -}}
{{- $id := list .root .component -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "hiper.metadata" $id | nindent 2 }}
spec:
  {{- if not .values.autoscaling.enabled }}
  replicas: {{ .values.replicaCount }}
  {{- end }}
  {{- if .values.gpu.count }}
  # No GPU waits idle for a new pod: an old one goes first.
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}
  {{- end }}
  selector:
    matchLabels:
      {{- include "hiper.selector" $id | nindent 6 }}
  template:
    {{- include "hiper.pod" . | nindent 4 }}
{{- end -}}

{{/* A Service, without an address of its own where clients must see the pods. Takes the pod's dict. */}}
{{- define "hiper.service" -}}
{{- $id := list .root .component -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "hiper.metadata" (append $id .values.service.annotations) | nindent 2 }}
spec:
  {{- if not .apiPort }}
  clusterIP: None
  {{- end }}
  {{- if .publishNotReady }}
  publishNotReadyAddresses: true
  {{- end }}
  selector:
    {{- include "hiper.selector" $id | nindent 4 }}
    {{- with .firstPod }}
    # The first of several speaks for all of them.
    statefulset.kubernetes.io/pod-name: {{ . }}
    {{- end }}
  ports:
    - {name: http, port: 8080, targetPort: http}
    {{- if .grpc }}
    - {name: grpc, port: 50051, targetPort: grpc, appProtocol: grpc}
    {{- end }}
    {{- if .servesWeights }}
    - {name: weights, port: 8085, targetPort: weights}
    {{- end }}
    {{- with .apiPort }}
    - {name: api, port: {{ . }}, targetPort: api}
    {{- end }}
{{- end -}}
